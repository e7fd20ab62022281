"""Offline models on videos of any length: windows that overlap, refined one after the other.

The tracker goes through the video once, so ids persist by themselves; the refiner sees `window`
frames at a time. Where two windows overlap, the earlier one speaks of the first half of the
shared frames and the later one of the second, so that each frame is refined with frames on
both of its sides. A video that fits one window gets what `VideoPredictor(frames)` gives, but for
the chains of candidates, which have no identity outside of their window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dvis_daq.model import RefinedTracks, VideoModel
from dvis_daq.refiner import SequenceBank, SequenceFrame, SequenceRules
from dvis_daq.streaming.online import Spoken, SpokenFrame, limited, observed, resumed
from dvis_daq.streaming.state import HeldFrame, VideoState
from dvis_daq.structures import VideoPrediction
from dvis_daq.tracker.bank import LogitMeans
from dvis_daq.tracker.loop import TrackedFrame


@dataclass(frozen=True)
class WindowedMode:
    """Speaks of the frames of a window once it is full.

    Attributes:
        model: with a refiner.
        window: W, frames that are refined together; a result comes up to W frames late.
        overlap: frames that two windows share, less than W.
        max_tracks: as in `OnlineMode`.

    Raises:
        ValueError: the overlap does not fit the window.
    """

    model: VideoModel
    window: int = 30
    overlap: int = 10
    max_tracks: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.window:
            raise ValueError(
                f"an overlap of {self.overlap} frames does not fit a window of {self.window}; "
                "it must be smaller, and not negative"
            )

    @property
    def _rules(self) -> SequenceRules:
        assert self.model.sequences is not None  # there is a refiner
        return self.model.sequences

    @torch.no_grad()
    def feed(self, state: VideoState, images: Tensor) -> Spoken:
        state = yield from self._full(state)  # one that was paused while it was spoken of
        first, means = state.frame, state.means
        for done in self.model.frames(images, resumed(self.model, state)):
            means, tracks = observed(means, done), done.state
            if state.frame + 1 == first + len(images):
                tracks = limited(tracks, means, self.max_tracks)
            image = images[state.frame - first].unsqueeze(0)
            state = replace(
                state,
                frame=state.frame + 1,
                tracks=tracks,
                means=means,
                held=(*state.held, self._held(state.frame, image, done)),
            )
            state = yield from self._full(state)
        return state

    @torch.no_grad()
    def finish(self, state: VideoState) -> Spoken:
        state = yield from self._full(state)
        return (yield from self._speak(state, stop=len(state.held), drop=0))

    def _full(self, state: VideoState) -> Spoken:
        """Speaks of a window if it is full, and keeps the frames that it shares with the next."""
        if len(state.held) < self.window:
            return state
        stop, drop = self.window - self.overlap // 2, self.window - self.overlap
        return (yield from self._speak(state, stop=stop, drop=drop))

    def _speak(self, state: VideoState, *, stop: int, drop: int) -> Spoken:
        """Speaks of the held frames before position `stop` that are still due; drops some.

        Means are counted and frames dropped with the last of them, so a pause in between
        changes nothing.
        """
        due = [n for n in range(stop) if state.held[n].index >= state.spoken]
        if not due:
            return state
        prediction, means = self._refine(state, range(due[0], stop))
        scores = prediction.class_scores()[:, :-1].amax(1)
        living = torch.cat([held.sequence.ids for held in state.held]).unique()
        for n, position in enumerate(due):
            index, masks = state.held[position].index, prediction.masks[:, n : n + 1]
            shown = replace(prediction, masks=masks, start=index)
            visible = (masks > 0).flatten(1).any(1)
            state = replace(state, spoken=index + 1)
            if position == due[-1]:
                state = replace(state, refined=means.keep(living), held=state.held[drop:])
            yield SpokenFrame(shown, scores, visible, living), state
        return state

    def _refine(self, state: VideoState, frames: range) -> tuple[VideoPrediction, LogitMeans]:
        """Tracks by id: masks in the held `frames`, class scores over all windows so far."""
        bank = SequenceBank(self._rules, frames=[held.sequence for held in state.held])
        refined = self.model.refine(bank)
        tracks = (refined.ids < state.held[-1].sequence.next_id).nonzero().squeeze(1)  # no chains
        refined = refined.rows(tracks[refined.ids[tracks].argsort()])
        scores = refined.scores if refined.scores is not None else refined.logits.softmax(-1)
        means = state.refined or LogitMeans.start(refined.ids, scores)
        means = means.add(refined.ids, scores, weight=len(state.held))
        return VideoPrediction(
            ids=refined.ids,
            logits=refined.logits,
            masks=self._masks(refined, state.held, frames),
            scores=means.of(refined.ids),
        ), means

    def _masks(self, refined: RefinedTracks, held: Sequence[HeldFrame], frames: range) -> Tensor:
        """(N, t, h, w) mask logits in the held `frames`."""
        model, masks = self.model, []
        for start in range(frames.start, frames.stop, model.window):
            piece = slice(start, min(start + model.window, frames.stop))
            features = torch.cat([frame.pixels for frame in held[piece]]).to(model.device)
            if not model.keep_features:
                features = model.mask_features(features)
            masks.append(model.refined_masks(refined, piece, features))
        return torch.cat(masks, dim=1)

    def _held(self, index: int, image: Tensor, done: TrackedFrame) -> HeldFrame:
        sequence = SequenceFrame.of(
            done.state, done.step, done.rows, done.frame, candidates=self._rules.candidates
        )
        keep = self.model.keep_features
        return HeldFrame(index, sequence, done.frame.mask_features.cpu() if keep else image)
