"""Tracks of a whole video as sequences of queries: what the refiner reads.

A track is one query a frame for as long as it lives. The frames before its birth and after
its death are filled (temporal padding), and rows that no track takes are filled with chains
of similar candidates (spatial padding; paper, supplement 1 and Tab. A4c).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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


@dataclass(frozen=True)
class SequenceFrame:
    """What one frame leaves to the sequences of its video.

    Attributes:
        ids: (N,) int64 tracks that live after the frame, rising.
        queries: (N, C).
        logits: (N, K + 1).
        appearance: (N, C') momentum-weighted, after the frame.
        candidates: what the segmenter found.
        next_id: of the tracks to come.
        masks: (N, h, w) mask logits of the online model; None unless they are kept.
    """

    ids: Tensor
    queries: Tensor
    logits: Tensor
    appearance: Tensor
    candidates: Candidates
    next_id: int
    masks: Tensor | None = None

    @classmethod
    def of(
        cls,
        state: TrackState,
        step: TrackerStep,
        rows: Tensor,
        frame: FrameOutputs,
        *,
        candidates: Callable[[FrameOutputs], Tensor],
        keep_masks: bool = False,
    ) -> SequenceFrame:
        """From the state after a frame, the step, its rows that live on, and what S said."""
        found = frame.masks[0] if keep_masks else None
        return cls(
            ids=state.ids,
            queries=step.queries[rows],
            logits=step.tracked.logits[-1, rows],
            appearance=state.appearance.mean,
            candidates=Candidates(candidates(frame)[0], frame.logits[0], found),
            next_id=state.next_id,
            masks=step.tracked.masks[-1, rows, 0] if keep_masks else None,
        )


class SequenceBank:
    """Collects the queries of a video, or of a window of it, frame by frame.

    Memory is T x (N + Q) x C, N of the tracks that live at a time; sequences are made of the
    best tracks alone. The masks of the online model are kept only for training, whose clips
    are short.

    Args:
        rules: how sequences are made.
        keep_masks: keep the masks.
        frames: to begin with.
    """

    def __init__(
        self,
        rules: SequenceRules,
        *,
        keep_masks: bool = False,
        frames: Iterable[SequenceFrame] = (),
    ) -> None:
        self._rules = rules
        self._keep_masks = keep_masks
        self._frames = list(frames)

    def add(self, state: TrackState, step: TrackerStep, rows: Tensor, frame: FrameOutputs) -> None:
        """Stores a frame: the state after it, the step, its rows that live on, what S said."""
        self._frames.append(
            SequenceFrame.of(
                state,
                step,
                rows,
                frame,
                candidates=self._rules.candidates,
                keep_masks=self._keep_masks,
            )
        )

    @property
    def candidates(self) -> Tensor:
        """(T, Q, C) what the segmenter found in each frame."""
        return torch.stack([frame.candidates.embeds for frame in self._frames])

    def tracks(self) -> TrackSequences:
        """The best tracks, best first, dead ones included; all in order of birth if few."""
        ids = torch.cat([frame.ids for frame in self._frames]).unique()
        logits = self._mean_logits(ids)
        chosen = torch.arange(len(ids), device=ids.device)
        if len(ids) > self._rules.max_tracks:
            chosen = foreground_score(logits).topk(self._rules.max_tracks).indices
        frames, first = len(self._frames), self._frames[0]
        alive = torch.zeros(len(chosen), frames, dtype=torch.bool, device=ids.device)
        filling = self._rules.padding(self._last_appearance(ids)[chosen])
        queries = filling[:, None].repeat(1, frames, 1)
        masks = None
        if first.masks is not None:
            shape = (len(chosen), frames, *first.masks.shape[1:])
            masks = first.masks.new_full(shape, NOTHING)
        row_of = torch.full_like(ids, -1)
        row_of[chosen] = torch.arange(len(chosen), device=ids.device)
        for t, frame in enumerate(self._frames):
            row = row_of[torch.searchsorted(ids, frame.ids)]
            taken = row >= 0
            alive[row[taken], t] = True
            queries[row[taken], t] = frame.queries[taken].to(queries.dtype)
            if masks is not None and frame.masks is not None:
                masks[row[taken], t] = frame.masks[taken]
        return TrackSequences(ids[chosen], queries, logits[chosen], ~alive, masks)

    def chains(self) -> TrackSequences:
        """Q chains of the most similar candidates from frame to frame, as MinVIS makes them."""
        chained = [self._frames[0].candidates]
        for frame in self._frames[1:]:
            order = most_similar(chained[-1].embeds, frame.candidates.embeds)
            chained.append(frame.candidates.select(order))
        queries = torch.stack([frame.embeds for frame in chained], dim=1)
        number, frames = queries.shape[:2]
        masks = [frame.masks for frame in chained if frame.masks is not None]
        return TrackSequences(
            ids=torch.arange(number, device=queries.device) + self._frames[-1].next_id,
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
        missing = len(self._frames[0].candidates.embeds) - len(tracks)
        if not self._rules.chains or missing <= 0:
            return tracks
        return tracks.join(self.chains().best(missing))

    def _mean_logits(self, ids: Tensor) -> Tensor:
        """(N, K + 1) of the tracks `ids`, the mean over the frames in which each lived."""
        like = self._frames[0].logits
        sums = like.new_zeros(len(ids), like.shape[1])
        frames = sums.new_zeros(len(ids), 1)
        for frame in self._frames:
            rows = torch.searchsorted(ids, frame.ids)
            sums[rows] += frame.logits
            frames[rows] += 1
        return sums / frames

    def _last_appearance(self, ids: Tensor) -> Tensor:
        """(N, C') of the tracks `ids`, each as it was when the track was last there."""
        appearance = self._frames[0].appearance
        last = appearance.new_zeros(len(ids), appearance.shape[1])
        for frame in self._frames:
            last[torch.searchsorted(ids, frame.ids)] = frame.appearance
        return last
