"""GenVIS: a fixed number of clip queries, handed from clip to clip (baseline of Tab. A1).

A row is a learned query in the first clip and its own last output in every later one. With the
instance prototype memory it also reads what it was in all earlier clips; the paper's baseline
is GenVIS without that memory, and how it was left out is not said: here the whole term is
dropped (ours).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dvis_daq.structures import FrameOutputs
from dvis_daq.tracker.anchors import Queries
from dvis_daq.tracker.clip import ClipModule, ClipStep
from dvis_daq.tracker.state import TrackState


class GenVISTracker(nn.Module):
    """Tracks a fixed number of rows through clips; keeps nothing between two calls of `step`.

    Args:
        clip: reads the candidates of a clip.
        num_candidates: Q, of a frame.
        num_rows: N.
        memory: instance prototype memory; None for none.
    """

    def __init__(
        self,
        clip: ClipModule,
        *,
        num_candidates: int,
        num_rows: int,
        memory: PrototypeMemory | None = None,
    ) -> None:
        super().__init__()
        self.clip = clip
        self.clip_queries = nn.Embedding(num_rows, clip.hidden_dim)
        self.clip_positions = nn.Embedding(num_rows, clip.hidden_dim)
        self.candidate_positions = nn.Embedding(num_candidates, clip.hidden_dim)
        self.memory = memory

    def start(self) -> TrackState:
        """The state before the first clip of a video; there is no appearance, C = 0."""
        weight = self.clip_queries.weight.detach()
        return TrackState.start(weight[:0], weight.new_empty(0, 0), window=1)

    def step(
        self, state: TrackState, frame: FrameOutputs, hidden: Tensor | None = None
    ) -> ClipStep:
        """Looks at one clip.

        In training all decoder layers are predicted, in evaluation the last alone.

        Args:
            state: before the clip; N rows, or none before the first. It counts clips.
            frame: T frames, at least one, of Q candidates each.
            hidden: not used, there is no disappearance to simulate.

        Raises:
            ValueError: the frames lack pixel features.
        """
        features = self.clip.mask_features(frame)
        tokens = self.clip.encode(frame.embeds)  # (T, Q, C)
        start = self.clip_queries.weight if state.frame == 0 else state.queries
        if self.memory is not None:
            start = self.memory(start, state.prototypes)
        rows = Queries(start, self.clip_positions.weight)
        layers = self.clip.read(rows, tokens, self.candidate_positions.weight)  # (L, N, C)
        last = layers[-1]
        left = None if self.memory is None else self.memory.entry(self.clip.head.norm(last))
        return ClipStep(
            tracked=self.clip.predict(layers, features),
            queries=last,
            appearance=last.new_empty(len(last), 0),
            num_tracked=len(state),
            prototypes=left,
            row_similarity=self.clip.row_similarity(self.clip.head.norm(last)),
            candidate_similarity=self.clip.candidate_similarity(tokens),
        )


class PrototypeMemory(nn.Module):
    """What each row was in earlier clips, read by the row alone (instance prototype memory).

    Args:
        dim: C.
        clips: latest clips that are read; None for all. With 0 only the row's own term remains.
    """

    def __init__(self, dim: int, clips: int | None = None) -> None:
        super().__init__()
        self.clips = clips
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.ask = nn.Linear(dim, dim)
        self.keep = nn.Linear(dim, dim)

    def entry(self, normed: Tensor) -> Tensor:
        """(N, 2 C), what N rows leave behind: normed outputs of a clip as key and value."""
        return torch.cat([self.key(normed), self.value(normed)], dim=-1)

    def forward(self, rows: Tensor, prototypes: Tensor | None) -> Tensor:
        """Adds to each row what it remembers.

        Args:
            rows: (N, C).
            prototypes: (N, M, 2 C) entries of M earlier clips, in their order; None before
                the first.
        """
        remembered = rows + self.keep(rows)
        if prototypes is None or self.clips == 0:
            return remembered
        if self.clips is not None:
            prototypes = prototypes[:, -self.clips :]
        key, value = prototypes.chunk(2, dim=-1)  # (N, M, C)
        share = torch.einsum("nmc,nc->nm", key, self.ask(rows)).softmax(-1)
        return remembered + torch.einsum("nm,nmc->nc", share, value)
