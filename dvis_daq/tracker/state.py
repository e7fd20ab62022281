"""What a tracker carries from frame to frame, and the rules by which tracks live and die.

A tracker's `step` says what it sees in a frame; `advance` here decides what follows from
it. Training and inference are two loops over this pair (ARCHITECTURE.md, "Two loops").
The state is a value: to pause a video, keep it; to restart, take `tracker.start()` again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from dvis_daq.structures import FrameOutputs, Predictions, foreground_score
from dvis_daq.tracker.appearance import AppearanceMemory


@dataclass(frozen=True)
class TrackState:
    """The N tracks that are alive. Row n is a place in these tensors, `ids[n]` is a track.

    Attributes:
        ids: (N,) int64, counted from 0 in order of birth, never reused in a video.
        queries: (N, C) features of the continuously tracked queries (CTQ, Sec. 3.2).
        appearance: their positions, the momentum-weighted appearance of Eq. 4.
        missed: (N,) int64, frames in a row without a sighting.
        next_id: id of the next track to be born.
        frame: frames seen so far (clips, where a tracker sees several frames at once); 0 before
            the first one.
        prototypes: (N, M, P) what each row left behind in M earlier clips (GenVIS); None
            without such a memory.
    """

    ids: Tensor
    queries: Tensor
    appearance: AppearanceMemory
    missed: Tensor
    next_id: int
    frame: int
    prototypes: Tensor | None = None

    @classmethod
    def start(cls, queries: Tensor, appearance: Tensor, window: int) -> TrackState:
        """The state before the first frame, without tracks.

        Args:
            queries: (0, C) sets width, dtype and device of the queries.
            appearance: (0, C') the same for the appearance.
            window: W, observations that the appearance is compared with (Eq. 5).
        """
        none = torch.zeros(0, dtype=torch.int64, device=queries.device)
        return cls(none, queries, AppearanceMemory.start(appearance, window), none, 0, 0)

    def __len__(self) -> int:
        return self.ids.shape[0]

    def select(self, rows: Tensor) -> TrackState:
        """Only the tracks `rows`, a bool mask (N,) or a rising index; the others have ended."""
        return replace(
            self,
            ids=self.ids[rows],
            queries=self.queries[rows],
            appearance=self.appearance.select(rows),
            missed=self.missed[rows],
            prototypes=None if self.prototypes is None else self.prototypes[rows],
        )


class Transition(NamedTuple):
    """Queries before and after a tracker: the two ends of the feature transition (Tab. A3)."""

    anchors: Tensor  # (R, C) what went in, content plus position
    results: Tensor  # (R, C) what came out


@dataclass(frozen=True)
class TrackerStep:
    """What a tracker says of one frame. Rows: N tracks, then M newly anchored queries.

    Attributes:
        tracked: N + M rows of tracker 1, L layers, T = 1.
        queries: (N + M, C) outputs of the last layer, before the head's normalisation.
        appearance: (N + M, C) of the masks in `tracked` (Eq. 3).
        num_tracked: N.
        disappearing: N + S rows of tracker 2, S of them background; None where it did not
            run, as on a first frame.
        anchors: (N + S,) the segmenter's learned query that each row of tracker 2 began as.
        emergence: N + M rows of tracker 1 with dynamic anchors; None where the rows began as
            the state's queries.
        disappearance: N + S rows of tracker 2; None where it did not run.
        prototypes: (N + M, P) what the rows leave behind (GenVIS).
    """

    tracked: Predictions
    queries: Tensor
    appearance: Tensor
    num_tracked: int
    disappearing: Predictions | None = None
    anchors: Tensor | None = None
    emergence: Transition | None = None
    disappearance: Transition | None = None
    prototypes: Tensor | None = None


def advance(
    state: TrackState, step: TrackerStep, seen: Tensor, patience: int
) -> tuple[TrackState, Tensor]:
    """Ends a frame: who lives on, who is born, whose appearance moves.

    A track that is not seen lives on with the query of this frame until it was missed in
    `patience` frames in a row; its appearance stays as it was. A newly anchored row that is
    not seen leaves no trace. `patience=1` keeps exactly the rows that are seen.

    Args:
        state: before the frame, N tracks.
        step: of the frame, N + M rows.
        seen: (N + M,) bool, the rows accepted in this frame.
        patience: frames, at least 1.

    Returns:
        The state after the frame, and the (N',) index of its tracks among the step's rows.

    Raises:
        ValueError: `seen` has not one entry for each row, or the step is of another state.
    """
    tracks = len(state)
    if seen.shape != step.queries.shape[:1]:
        raise ValueError(f"seen has shape {tuple(seen.shape)}, step has {len(step.queries)} rows")
    if step.num_tracked != tracks:
        raise ValueError(f"step of {step.num_tracked} tracks, but the state holds {tracks}")
    old, new = seen[:tracks], seen[tracks:]
    missed = torch.where(old, 0, state.missed + 1)
    kept = (missed < patience).nonzero().squeeze(1)
    born = new.nonzero().squeeze(1)
    observed = state.appearance.observe(step.appearance[:tracks], old).select(kept)
    newborn = AppearanceMemory.start(step.appearance[tracks:][born], observed.recent.shape[1])
    rows = torch.cat([kept, born + tracks])
    next_id = state.next_id + len(born)
    after = TrackState(
        ids=torch.cat([state.ids[kept], torch.arange(state.next_id, next_id, device=rows.device)]),
        queries=step.queries[rows],
        appearance=observed.join(newborn),
        missed=torch.cat([missed[kept], torch.zeros_like(born)]),
        next_id=next_id,
        frame=state.frame + 1,
        prototypes=_prototypes(state, step, rows),
    )
    return after, rows


def _prototypes(state: TrackState, step: TrackerStep, rows: Tensor) -> Tensor | None:
    """(N', M + 1, P) of the rows that live on.

    Raises:
        ValueError: a row is born after the first clip; it has no earlier entries.
    """
    if step.prototypes is None:
        return None
    newest = step.prototypes[rows, None]
    if state.prototypes is None:
        return newest
    if (rows >= len(state)).any():
        raise ValueError("a prototype memory knows only rows that live from the first clip on")
    return torch.cat([state.prototypes[rows], newest], dim=1)


# A rule of acceptance: (step, score, presence) -> (N + M,) bool; two thresholds, 0..1.
AcceptanceRule = Callable[[TrackerStep, float, float], Tensor]


def tracker_1(step: TrackerStep, score: float, presence: float) -> Tensor:
    """Tracker 1 decides alone (released YouTube-VIS and VIPSeg models)."""
    return step.tracked.scores() > score


def tracker_1_and_2(step: TrackerStep, score: float, presence: float) -> Tensor:
    """Tracker 2 may tell that a track is gone (released OVIS and MOSE models).

    Newly anchored rows are not its business.
    """
    accepted = step.tracked.scores() > score
    if step.disappearing is not None:
        tracks = step.num_tracked
        present = step.disappearing.scores()[:tracks] > presence
        accepted = torch.cat([accepted[:tracks] & present, accepted[tracks:]])
    return accepted


def mean_of_both(step: TrackerStep, score: float, presence: float) -> Tensor:
    """Tracks by the mean of both trackers' logits.

    The released code accepts so, and only so, while it trains the refiner of OVIS models.
    """
    logits = step.tracked.logits[-1]
    if step.disappearing is not None:
        tracks = step.num_tracked
        both = 0.5 * logits[:tracks] + 0.5 * step.disappearing.logits[-1, :tracks]
        logits = torch.cat([both, logits[tracks:]])
    return foreground_score(logits) > score


@dataclass(frozen=True)
class Lifecycle:
    """Decides which rows of a step are accepted (Sec. 3.2 and 3.4; thresholds as released).

    Attributes:
        accept: the rule for every frame but the first.
        score: 0..1, a row is accepted above it.
        first_score: 0..1, on the first frame a candidate is born when the *segmenter* scores
            it above this; the paper is silent, the released weights are used so.
        foreground_score: 0..1, tracker 2 calls a track present above it.
        patience: frames in a row without a sighting after which a track ends.
    """

    accept: AcceptanceRule = tracker_1_and_2
    score: float = 0.1
    first_score: float = 0.01
    foreground_score: float = 0.01
    patience: int = 8

    def seen(self, state: TrackState, step: TrackerStep, frame: FrameOutputs) -> Tensor:
        """(N + M,) bool, the rows of `step` accepted in `frame` (T = 1)."""
        if state.frame == 0:
            return foreground_score(frame.logits[0]) > self.first_score
        return self.accept(step, self.score, self.foreground_score)


@dataclass(frozen=True)
class EndlessLife:
    """No birth or death after the first frame (MinVIS, CTVIS, DVIS); used like a `Lifecycle`."""

    patience: int = 1

    def seen(self, state: TrackState, step: TrackerStep, frame: FrameOutputs) -> Tensor:
        """(N + M,) bool, all True."""
        return torch.ones(step.queries.shape[0], dtype=torch.bool, device=step.queries.device)
