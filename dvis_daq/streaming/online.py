"""Online models: each frame is spoken of as soon as it is there."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Protocol, cast

import torch
from torch import Tensor

from dvis_daq.model import VideoModel
from dvis_daq.streaming.state import VideoState
from dvis_daq.structures import VideoPrediction, foreground_score
from dvis_daq.tracker.bank import NOTHING, LogitMeans
from dvis_daq.tracker.loop import TrackedFrame, Tracker
from dvis_daq.tracker.state import TrackState


@dataclass(frozen=True)
class SpokenFrame:
    """What a model says of one frame, before a task head makes something of it.

    Attributes:
        prediction: N tracks, T = 1; its class scores are those of the whole track so far.
        frame_scores: (N,) 0..1, in this frame alone.
        visible: (N,) bool, the track was accepted in this frame.
        living: (M,) int64 ids that may still be seen again; those of the prediction among them.
    """

    prediction: VideoPrediction
    frame_scores: Tensor
    visible: Tensor
    living: Tensor


# Frames, each with the state after it; returns the state when all has been taken.
Spoken = Generator[tuple[SpokenFrame, VideoState], None, VideoState]


class Mode(Protocol):
    """How frames become results; keeps nothing itself."""

    def feed(self, state: VideoState, images: Tensor) -> Spoken:
        """Takes the next frames, (T, 3, h, w) uint8; speaks of those that are due."""

    def finish(self, state: VideoState) -> Spoken:
        """The shot is over: speaks of the frames that still wait."""


@dataclass(frozen=True)
class OnlineMode:
    """Speaks of each frame at once.

    Attributes:
        model: without a refiner.
        max_tracks: that live at a time, looked at after each call of `feed`; of more, those with
            the best scores go on. None for no limit.
    """

    model: VideoModel
    max_tracks: int | None = None

    @torch.no_grad()
    def feed(self, state: VideoState, images: Tensor) -> Spoken:
        last = state.frame + len(images)
        for done in self.model.frames(images, resumed(self.model, state)):
            means = observed(state.means, done)
            spoken = _spoken(done, means, state.frame, self.model)
            tracks = done.state
            if state.frame + 1 == last:
                tracks = limited(tracks, means, self.max_tracks)
            state = replace(
                state, frame=state.frame + 1, spoken=state.frame + 1, tracks=tracks, means=means
            )
            yield replace(spoken, living=tracks.ids), state
        return state

    def finish(self, state: VideoState) -> Spoken:
        yield from ()
        return state


def resumed(model: VideoModel, state: VideoState) -> TrackState:
    """What the tracker goes on from."""
    if state.tracks is None:
        return replace(cast(Tracker, model.tracker).start(), next_id=state.first_id)
    return state.tracks


def observed(means: LogitMeans | None, done: TrackedFrame) -> LogitMeans:
    """Means of the class logits of the living tracks, this frame included."""
    ids, logits = done.state.ids, done.step.tracked.logits[-1, done.rows]
    return (means or LogitMeans.start(ids, logits)).add(ids, logits).keep(ids)


def limited(tracks: TrackState, means: LogitMeans, most: int | None) -> TrackState:
    """Ends the tracks with the lowest scores where more than `most` live."""
    if most is None or len(tracks) <= most:
        return tracks
    best = foreground_score(means.of(tracks.ids)).topk(most).indices
    return tracks.select(best.sort().values)


def _spoken(done: TrackedFrame, means: LogitMeans, index: int, model: VideoModel) -> SpokenFrame:
    ids, visible = done.state.ids, done.seen[done.rows]
    masks = done.step.tracked.masks[-1, done.rows]  # (N, 1, h, w)
    masks = masks.to(model.mask_dtype or masks.dtype)
    if not model.show_unseen:
        masks = masks.masked_fill(~visible[:, None, None, None], NOTHING)
    return SpokenFrame(
        prediction=VideoPrediction(ids, means.of(ids), masks, index),
        frame_scores=foreground_score(done.step.tracked.logits[-1, done.rows]),
        visible=visible,
        living=ids,
    )
