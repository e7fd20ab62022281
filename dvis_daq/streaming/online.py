"""Online models: each frame is spoken of as soon as it is there."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Protocol, cast

import torch
from torch import Tensor

from dvis_daq.model import VideoModel
from dvis_daq.streaming.state import VideoState
from dvis_daq.structures import VideoPrediction, foreground_score
from dvis_daq.tracker.bank import NOTHING, LogitMeans
from dvis_daq.tracker.loop import TrackedFrame, Tracker
from dvis_daq.tracker.pooling import BestScores
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
    """Speaks of each frame, or clip, at once.

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
            means, best = observed(state.means, done), self._best(state.best, done)
            stop, tracks = state.frame + len(done.frame), done.state
            if stop == last:
                tracks = limited(tracks, means if best is None else best, self.max_tracks)
            after = replace(
                state,
                frame=stop,
                spoken=stop,
                tracks=tracks,
                means=means.keep(tracks.ids),
                best=None if best is None else best.keep(tracks.ids),
            )
            scores = None if best is None else best.of(done.state.ids)
            frames = self._spoken(done, means.of(done.state.ids), scores, state.frame)
            for spoken in frames:
                spoken = replace(spoken, living=tracks.ids)
                index = spoken.prediction.start
                if index < state.spoken:  # before the video was paused in the middle of a clip
                    continue
                yield spoken, after if index + 1 == stop else replace(state, spoken=index + 1)
            state = after
        return state

    def finish(self, state: VideoState) -> Spoken:
        yield from ()
        return state

    def _best(self, best: BestScores | None, done: TrackedFrame) -> BestScores | None:
        """Best scores of the living tracks, with a model that pools its scores so."""
        if self.model.scores is None:
            return None
        ids, logits = done.state.ids, done.step.tracked.logits[-1, done.rows]
        return (best or self.model.scores(ids, logits)).add(ids, logits).keep(ids)

    def _spoken(
        self, done: TrackedFrame, logits: Tensor, scores: Tensor | None, first: int
    ) -> Iterator[SpokenFrame]:
        """The T frames of a step, one by one; T = 1 but for trackers of clips."""
        ids, visible = done.state.ids, done.seen[done.rows]
        masks = done.step.tracked.masks[-1, done.rows]  # (N, T, h, w)
        masks = masks.to(self.model.mask_dtype or masks.dtype)
        if not self.model.show_unseen:
            masks = masks.masked_fill(~visible[:, None, None, None], NOTHING)
        for t in range(masks.shape[1]):
            yield SpokenFrame(
                prediction=VideoPrediction(ids, logits, masks[:, t : t + 1], first + t, scores),
                frame_scores=foreground_score(done.step.tracked.logits[-1, done.rows]),
                visible=visible,
                living=ids,
            )


def resumed(model: VideoModel, state: VideoState) -> TrackState:
    """What the tracker goes on from."""
    if state.tracks is None:
        return replace(cast(Tracker, model.tracker).start(), next_id=state.first_id)
    return state.tracks


def observed(means: LogitMeans | None, done: TrackedFrame) -> LogitMeans:
    """Means of the class logits of the living tracks, this frame included."""
    ids, logits = done.state.ids, done.step.tracked.logits[-1, done.rows]
    return (means or LogitMeans.start(ids, logits)).add(ids, logits).keep(ids)


def limited(tracks: TrackState, pooled: LogitMeans | BestScores, most: int | None) -> TrackState:
    """Ends the tracks with the lowest scores where more than `most` live.

    Args:
        pooled: what the scores of the tracks are made of.
    """
    if most is None or len(tracks) <= most:
        return tracks
    found = pooled.of(tracks.ids)
    scores = found if isinstance(pooled, BestScores) else found.softmax(-1)
    best = scores[:, :-1].amax(1).topk(most).indices
    return tracks.select(best.sort().values)
