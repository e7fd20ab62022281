"""Contrastive loss on refined tracks, with a memory of earlier tracks by class (DVIS++ offline)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from dvis_daq.structures import Assignment
from dvis_daq.training.contrastive import ContrastiveItem, contrastive_losses


class ClassMemory:
    """Embeddings of tracks of earlier steps, a few for each class.

    It belongs to a loss, not to a model: it changes with every training step, has no gradient
    and is never used at inference. Each process has its own; a resumed training gives all of
    them that of the main process (released: none).

    Args:
        capacity: embeddings kept for each class.
        permutation: n -> (n,) int64, decides at random which ones.
    """

    def __init__(
        self, capacity: int = 20, permutation: Callable[[int], Tensor] = torch.randperm
    ) -> None:
        self._capacity = capacity
        self._permutation = permutation
        self._embeddings: dict[int, Tensor] = {}

    def of(self, label: int) -> Tensor | None:
        """(n, C) embeddings of a class, None before its first."""
        return self._embeddings.get(label)

    def add(self, embeddings: Tensor, labels: Tensor) -> None:
        """Remembers M embeddings of each of P tracks, then forgets what is too much.

        Args:
            embeddings: (P, M, C).
            labels: (P,) int64 classes.
        """
        for label, new in zip(labels.tolist(), embeddings.detach(), strict=True):
            old = self._embeddings.get(label, new[:0])
            self._embeddings[label] = torch.cat([old, new])
        for label, kept in self._embeddings.items():
            if len(kept) > self._capacity:
                order = self._permutation(len(kept))[-self._capacity :]
                self._embeddings[label] = kept[order.to(kept.device)]

    def state_dict(self) -> dict[int, Tensor]:
        return dict(self._embeddings)

    def load_state_dict(self, state: dict[int, Tensor]) -> None:
        self._embeddings = dict(state)


class TrackEmbeddings(NamedTuple):
    """The tracks of a clip, and which of them show an object."""

    embeddings: Tensor  # (T, N, C)
    pairs: Assignment  # row and object, P pairs
    labels: Tensor  # (G,) int64 classes of the objects


@dataclass(frozen=True)
class TrackContrast:
    """A track resembles itself in all frames, not its neighbours, nor others of its class.

    Attributes:
        weight: of the loss.
        memory: others of its class; changes with every call.
    """

    weight: float = 2.0
    memory: ClassMemory = field(default_factory=ClassMemory)

    def __call__(self, clips: Sequence[TrackEmbeddings]) -> dict[str, Tensor]:
        """The weighted loss by its released name; afterwards the memory knows these tracks."""
        items = [item for clip in clips for item in track_items(clip, self.memory)]
        losses = contrastive_losses(items, embeddings=[clip.embeddings for clip in clips])
        for clip in clips:
            query, target = (index.to(clip.embeddings.device) for index in clip.pairs)
            tracks = clip.embeddings.detach().transpose(0, 1)[query]  # (P, T, C)
            self.memory.add(tracks, clip.labels[target])
        return losses.named(self.weight, 0.0)


def track_items(clip: TrackEmbeddings, memory: ClassMemory) -> list[ContrastiveItem]:
    """Up to two items for each frame and pair.

    The anchor is the track's embedding in the frame, its positives are those of all frames,
    that one included. Negatives are the other rows of the frame; in a second item, where the
    memory has any, earlier tracks of the object's class.
    """
    labels = clip.labels.tolist()
    pairs = list(zip(clip.pairs.query.tolist(), clip.pairs.target.tolist(), strict=True))
    items = []
    for frame in clip.embeddings:
        for row, target in pairs:
            track = clip.embeddings[:, row]
            others = torch.cat([frame[:row], frame[row + 1 :]])
            items.append(ContrastiveItem(frame[row], track, others))
            remembered = memory.of(labels[target])
            if remembered is not None:
                items.append(ContrastiveItem(frame[row], track, remembered.to(track)))
    return items
