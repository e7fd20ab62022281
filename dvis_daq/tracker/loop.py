"""The inference way to drive a tracker through frames: one step, one decision, one advance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from torch import Tensor

from dvis_daq.structures import FrameOutputs
from dvis_daq.tracker.state import TrackerStep, TrackState, advance


class Tracker(Protocol):
    """What every tracker offers."""

    def start(self) -> TrackState: ...

    def step(
        self, state: TrackState, frame: FrameOutputs, hidden: Tensor | None = None
    ) -> TrackerStep: ...


class LifeRule(Protocol):
    """Which rows of a step are accepted; see `state.Lifecycle`."""

    @property
    def patience(self) -> int: ...

    def seen(self, state: TrackState, step: TrackerStep, frame: FrameOutputs) -> Tensor: ...


class TrackedFrame(NamedTuple):
    """All that is known of one frame once it is done."""

    state: TrackState  # after the frame
    frame: FrameOutputs  # what the segmenter said
    step: TrackerStep  # what the tracker said, N + M rows
    seen: Tensor  # (N + M,) bool, rows accepted
    rows: Tensor  # (N',) rows that live on, in the order of state.ids


def track(
    tracker: Tracker,
    life: LifeRule,
    frames: Iterable[FrameOutputs],
    state: TrackState | None = None,
) -> Iterator[TrackedFrame]:
    """Tracks through single frames.

    Args:
        tracker: makes the steps.
        life: decides which rows are accepted, and how long a track may go unseen.
        frames: T = 1 each.
        state: where an earlier piece of the video ended; None starts a video.
    """
    if state is None:
        state = tracker.start()
    for frame in frames:
        step = tracker.step(state, frame)
        seen = life.seen(state, step, frame)
        state, rows = advance(state, step, seen, life.patience)
        yield TrackedFrame(state, frame, step, seen, rows)
