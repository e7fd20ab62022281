"""CTVIS: the segmenter learns from clips, and its re-id head to tell objects apart over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from dvis_daq.structures import ClipTargets, FrameOutputs
from dvis_daq.training.contrastive import ContrastiveItem, contrastive_losses
from dvis_daq.training.losses import LossWeights
from dvis_daq.training.matching import match_clips
from dvis_daq.training.objectives.base import Clip, Parts, fit_targets, segment_clips
from dvis_daq.training.objectives.frame import image_losses
from dvis_daq.training.points import PointSampler
from dvis_daq.training.simulation import Choice


@dataclass(frozen=True)
class ContrastiveObjective:
    """The losses of `FrameObjective` over the frames of a clip, and a contrastive one.

    Attributes:
        weight: of the contrastive loss.
        auxiliary_weight: of its cosine form.
        num_negatives: other queries of a frame that an object must not resemble, at most.
        momentum: half of the positives are the object's running embedding, not its latest.
        released_first_items: the released rule for an object without an earlier sighting: it
            has no item in frame t when it is absent from exactly t later frames (a count that
            the release compares with the wrong number).
        losses: weights of the per-frame losses.
        points: source of the points at which masks are compared.
        choice: picks the kind of positive, and negatives where not all are taken.
    """

    weight: float = 2.0
    auxiliary_weight: float = 3.0
    num_negatives: int = 99
    momentum: bool = True
    released_first_items: bool = False
    losses: LossWeights = field(default_factory=LossWeights)
    points: PointSampler = field(default_factory=PointSampler)
    choice: Choice = field(default_factory=Choice)
    trains: ClassVar[tuple[str, ...]] = ("segmenter",)

    def __call__(self, model: Parts, clips: Sequence[Clip], iteration: int) -> dict[str, Tensor]:
        """Weighted losses by name: those of every frame, `loss_reid` and `loss_aux_reid`.

        Raises:
            ValueError: the segmenter has no re-id head.
        """
        images, items, embeddings = [], [], []
        for clip, frames in zip(clips, segment_clips(model.segmenter, clips), strict=True):
            if frames.reid is None:
                raise ValueError("CTVIS needs a re-id head: set MODEL.MASK_FORMER.REID_BRANCH True")
            targets = fit_targets(clip.targets, frames)
            of_clip = [(frames.predictions(t), targets[:, t]) for t in range(len(frames))]
            images += of_clip
            items += self.items(frames.reid, self._queries(frames, targets), targets.visible.cpu())
            embeddings.append(frames.reid)
        contrastive = contrastive_losses(items, embeddings=embeddings)
        return image_losses(
            images, weights=self.losses, points=self.points
        ).named() | contrastive.named(self.weight, self.auxiliary_weight)

    def items(self, reid: Tensor, query: Tensor, visible: Tensor) -> list[ContrastiveItem]:
        """What is compared in one clip, frame by frame.

        Args:
            reid: (T, Q, C) re-id embeddings.
            query: (T, G) int64, the query matched with each object, be it visible or not.
            visible: (G, T) bool on the CPU.
        """
        tracks = [
            ObjectEmbeddings(reid[range(len(reid)), query[:, g]], visible[g])
            for g in range(len(visible))
        ]
        found = []
        for t in range(1, len(reid)):
            for g in visible[:, t].nonzero().flatten().tolist():
                positive = self._positive(tracks[g], t)
                if positive is not None:
                    own = int(query[t - 1, g]) if visible[g, t - 1] else None
                    negatives = reid[t - 1, self._negatives(reid.shape[1], own)]
                    found.append(ContrastiveItem(tracks[g].each[t], positive[None], negatives))
        return found

    def _queries(self, frames: FrameOutputs, targets: ClipTargets) -> Tensor:
        """(T, G) int64, matched by the final layer in every frame by itself."""
        images = [(frames.predictions(t).final, targets[:, t]) for t in range(len(frames))]
        found = match_clips(images, weights=self.losses, points=self.points)
        query = torch.full((len(frames), len(targets)), -1)
        for t, [pairs] in enumerate(found):
            query[t, pairs.target] = pairs.query
        return query

    def _positive(self, track: ObjectEmbeddings, t: int) -> Tensor | None:
        """(C,) what the object in frame t should resemble; None if it is seen only there."""
        earlier, later = track.sightings(0, t), track.sightings(t + 1)
        if earlier:
            if self.momentum and self.choice(2) == 0:
                return track.running[t - 1]
            return track.each[earlier[-1]]
        absent_later = len(track.visible) - (t + 1) - len(later)
        if not later or (self.released_first_items and absent_later == t):
            return None
        return track.each[later[0]]

    def _negatives(self, queries: int, own: int | None) -> list[int]:
        """Queries of a frame that are not the object's; all of them where it was absent."""
        others = [q for q in range(queries) if q != own]
        while own is not None and len(others) > self.num_negatives:
            del others[self.choice(len(others))]
        return others


class ObjectEmbeddings:
    """The embeddings of one object in a clip.

    Args:
        each: (T, C) of its query in every frame; counts only where it is visible.
        visible: (T,) bool on the CPU.
    """

    def __init__(self, each: Tensor, visible: Tensor) -> None:
        self.each = each
        self.visible = visible.tolist()
        self.running = list(self._run())  # T times (C,), None before the first sighting

    def sightings(self, start: int, stop: int | None = None) -> list[int]:
        """Frames in start..stop-1 in which the object is visible."""
        return [t for t in range(len(self.visible))[start:stop] if self.visible[t]]

    def _run(self) -> Iterator[Tensor | None]:
        """Eq. 4-5 over all earlier sightings; unlike the tracker's, with gradient and no window."""
        running: Tensor | None = None
        for t, seen in enumerate(self.visible):
            if seen and running is None:
                running = self.each[t]
            elif seen:
                past = self.each[self.sightings(0, t)]
                beta = F.cosine_similarity(past, self.each[t][None], dim=-1).mean().clamp(min=0)
                running = torch.lerp(running, self.each[t], beta)
            yield running
