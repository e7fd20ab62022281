"""Tracks of a whole video as sequences of queries: what the refiner reads.

A track is one query a frame for as long as it lives. The frames before its birth and after
its death are filled (temporal padding), and rows that no track takes are filled with chains
of similar candidates (spatial padding; paper, supplement 1 and Tab. A4c).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

import torch
from torch import Tensor

from dvis_daq.structures import FrameOutputs, foreground_score
from dvis_daq.tracker.bank import NOTHING
from dvis_daq.tracker.embedding import most_similar
from dvis_daq.tracker.state import TrackerStep, TrackState


@dataclass(frozen=True)
class TrackSequences:
    """N rows over T frames, before refinement.

    Attributes:
        ids: (N,) int64 track, or a number beyond the last track for a chain of candidates.
        queries: (N, T, C).
        logits: (N, K + 1) mean class logits.
        padded: (N, T) bool, frames that were filled.
        masks: (N, T, h, w) mask logits of the online model; None unless asked for.
    """

    ids: Tensor
    queries: Tensor
    logits: Tensor
    padded: Tensor
    masks: Tensor | None = None

    def __len__(self) -> int:
        return self.ids.shape[0]

    def join(self, other: TrackSequences) -> TrackSequences:
        """Appends the rows of `other`."""
        masks = None
        if self.masks is not None and other.masks is not None:
            masks = torch.cat([self.masks, other.masks])
        return TrackSequences(
            ids=torch.cat([self.ids, other.ids]),
            queries=torch.cat([self.queries, other.queries]),
            logits=torch.cat([self.logits, other.logits]),
            padded=torch.cat([self.padded, other.padded]),
            masks=masks,
        )

    def best(self, number: int) -> TrackSequences:
        """The `number` rows with the best scores, best first; all, in their order, if fewer."""
        if len(self) <= number:
            return self
        rows = foreground_score(self.logits).topk(number).indices
        return TrackSequences(
            ids=self.ids[rows],
            queries=self.queries[rows],
            logits=self.logits[rows],
            padded=self.padded[rows],
            masks=None if self.masks is None else self.masks[rows],
        )


# (N, C) final appearance of the tracks -> (N, C) what fills their missing frames
TemporalPadding = Callable[[Tensor], Tensor]


def appearance_padding(appearance: Tensor) -> Tensor:
    """The track's last momentum-weighted appearance (the released choice, Tab. A4c)."""
    return appearance


def zero_padding(appearance: Tensor) -> Tensor:
    """Zeros."""
    return torch.zeros_like(appearance)


@dataclass(frozen=True)
class SequenceRules:
    """How the tracks of a video become the rows that a refiner reads (Tab. A4c).

    Attributes:
        max_tracks: the best tracks are taken, this many at most.
        padding: fills the frames in which a track does not live.
        chains: fill up with chains of candidates to as many rows as a frame has candidates
            (spatial padding; they may repeat objects).
        candidates: (T, Q, C) what tracks read of the frames, and what chains are made of.
    """

    max_tracks: int
    padding: TemporalPadding = appearance_padding
    chains: bool = True
    candidates: Callable[[FrameOutputs], Tensor] = attrgetter("embeds")


class Candidates(NamedTuple):
    """What a frame of S leaves behind: not its features, which are a thousand times as large."""

    embeds: Tensor  # (Q, C)
    logits: Tensor  # (Q, K + 1)
    masks: Tensor | None  # (Q, h, w)

    def select(self, rows: Tensor) -> Candidates:
        masks = None if self.masks is None else self.masks[rows]
        return Candidates(self.embeds[rows], self.logits[rows], masks)


class SequenceBank:
    """Collects the queries of a video, frame by frame.

    Memory is T x (N + Q) x C, N of the tracks that live at a time; sequences are made of the
    best tracks alone. The masks of the online model are kept only for training, whose clips
    are short.

    Args:
        rules: how sequences are made.
        keep_masks: keep the masks.
    """

    def __init__(self, rules: SequenceRules, *, keep_masks: bool = False) -> None:
        self._rules = rules
        self._keep_masks = keep_masks
        self._ids: list[Tensor] = []
        self._queries: list[Tensor] = []
        self._logits: list[Tensor] = []
        self._masks: list[Tensor] = []
        self._appearance: dict[int, Tensor] = {}
        self._candidates: list[Candidates] = []
        self._next_id = 0

    def add(self, state: TrackState, step: TrackerStep, rows: Tensor, frame: FrameOutputs) -> None:
        """Stores a frame: the state after it, the step, its rows that live on, what S said."""
        self._ids.append(state.ids)
        self._queries.append(step.queries[rows])
        self._logits.append(step.tracked.logits[-1, rows])
        if self._keep_masks:
            self._masks.append(step.tracked.masks[-1, rows, 0])
        living = zip(state.ids.tolist(), state.appearance.mean, strict=True)
        self._appearance.update(living)
        masks = frame.masks[0] if self._keep_masks else None
        embeds = self._rules.candidates(frame)[0]
        self._candidates.append(Candidates(embeds, frame.logits[0], masks))
        self._next_id = state.next_id

    @property
    def candidates(self) -> Tensor:
        """(T, Q, C) what the segmenter found in each frame."""
        return torch.stack([frame.embeds for frame in self._candidates])

    def tracks(self) -> TrackSequences:
        """The best tracks, best first, dead ones included; all in order of birth if few."""
        logits = self._mean_logits()
        ids = torch.arange(self._next_id, device=logits.device)
        if len(ids) > self._rules.max_tracks:
            ids = foreground_score(logits).topk(self._rules.max_tracks).indices
        frames, first = len(self._ids), self._queries[0]
        alive = torch.zeros(len(ids), frames, dtype=torch.bool, device=first.device)
        filling = self._rules.padding(self._last_appearance(first)[ids])
        queries = filling[:, None].repeat(1, frames, 1)
        masks = None
        if self._keep_masks:
            shape = (len(ids), frames, *self._masks[0].shape[1:])
            masks = self._masks[0].new_full(shape, NOTHING)
        row_of = torch.full_like(logits[:, 0], -1, dtype=torch.int64)
        row_of[ids] = torch.arange(len(ids), device=ids.device)
        for t, living in enumerate(self._ids):
            taken = row_of[living] >= 0
            rows = row_of[living][taken]
            alive[rows, t] = True
            queries[rows, t] = self._queries[t][taken].to(queries.dtype)
            if masks is not None:
                masks[rows, t] = self._masks[t][taken]
        return TrackSequences(ids, queries, logits[ids], ~alive, masks)

    def chains(self) -> TrackSequences:
        """Q chains of the most similar candidates from frame to frame, as MinVIS makes them."""
        chained = [self._candidates[0]]
        for frame in self._candidates[1:]:
            chained.append(frame.select(most_similar(chained[-1].embeds, frame.embeds)))
        queries = torch.stack([frame.embeds for frame in chained], dim=1)
        number, frames = queries.shape[:2]
        masks = [frame.masks for frame in chained if frame.masks is not None]
        return TrackSequences(
            ids=torch.arange(number, device=queries.device) + self._next_id,
            queries=queries,
            logits=torch.stack([frame.logits for frame in chained]).mean(0),
            padded=torch.zeros(number, frames, dtype=torch.bool, device=queries.device),
            masks=torch.stack(masks, dim=1) if masks else None,
        )

    def sequences(self) -> TrackSequences:
        """The best tracks; then, where the rules say so, chains until there are Q rows.

        More tracks than that are kept all the same.
        """
        tracks = self.tracks()
        missing = len(self._candidates[0].embeds) - len(tracks)
        if not self._rules.chains or missing <= 0:
            return tracks
        return tracks.join(self.chains().best(missing))

    def _mean_logits(self) -> Tensor:
        """(N, K + 1) of all tracks, the mean over the frames in which each lived."""
        sums = self._logits[0].new_zeros(self._next_id, self._logits[0].shape[1])
        frames = sums.new_zeros(self._next_id, 1)
        for ids, logits in zip(self._ids, self._logits, strict=True):
            sums[ids] += logits
            frames[ids] += 1
        return sums / frames

    def _last_appearance(self, like: Tensor) -> Tensor:
        if not self._appearance:
            return like[:0]
        return torch.stack([self._appearance[track] for track in range(self._next_id)])
