"""Frames in, results out, with the state as the only thing carried along."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from dvis_daq.data.transforms import ClipTransform, Plan
from dvis_daq.model import VideoModel
from dvis_daq.streaming.online import Mode, Spoken, SpokenFrame
from dvis_daq.streaming.result import FrameResult
from dvis_daq.streaming.rows import Events, FrameRows, Selection, events_of, rows_of
from dvis_daq.streaming.state import VideoState
from dvis_daq.structures import FrameSizes

Results = Generator[FrameResult, None, VideoState]  # returns the state in the end
CutRule = Callable[[int, np.ndarray], bool]  # (index, frame) -> a new shot begins with it


@dataclass(frozen=True)
class Streamer:
    """How a model speaks of frames; keeps nothing itself.

    Attributes:
        model: of any recipe.
        mode: when a frame is spoken of.
        transform: resize of the frames, without chance in it.
        task: what is shown, vis | vos | vps | vss.
        selection: which rows are shown.
        name: of a class index.
    """

    model: VideoModel
    mode: Mode
    transform: ClipTransform
    task: str
    selection: Selection
    name: Callable[[int], str]

    def results(
        self,
        frames: Iterable[np.ndarray | None],
        state: VideoState,
        *,
        batch: int = 1,
        cut: CutRule | None = None,
    ) -> Iterator[FrameResult]:
        """See `VideoPredictor.stream`."""
        waiting: list[Tensor] = []
        batch += -batch % self.model.clip  # trackers of clips get whole ones
        for frame in frames:
            if frame is not None:
                state = _sized(state, frame)
            index = state.frame + len(waiting)
            starts = frame is not None and cut is not None and cut(index, frame)
            if frame is None or starts:
                state = yield from self.feed(state, waiting)
                waiting = []
            if starts:
                state = yield from self.finish(state)
                state = state.cut()
            if frame is None:
                state = replace(state, frame=state.frame + 1)
                continue
            waiting.append(self.image(frame))
            if len(waiting) == batch:
                state = yield from self.feed(state, waiting)
                waiting = []
        state = yield from self.feed(state, waiting)
        yield from self.finish(state)

    def step(self, state: VideoState, frame: np.ndarray) -> list[FrameResult]:
        """The results that are due with one more frame."""
        return list(self.feed(_sized(state, frame), [self.image(frame)]))

    def feed(self, state: VideoState, images: Sequence[Tensor]) -> Results:
        """Takes images (3, h, w)."""
        if images:
            state = yield from self._shown(state, self.mode.feed(state, torch.stack([*images])))
        return state

    def finish(self, state: VideoState) -> Results:
        """Speaks of the frames that still wait."""
        if state.size is not None:  # a frame has been seen
            state = yield from self._shown(state, self.mode.finish(state))
        return state

    def image(self, frame: np.ndarray) -> Tensor:
        """(3, h, w) uint8 at network size."""
        plan = self._plan((frame.shape[0], frame.shape[1]))
        return plan(torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1))

    def _plan(self, size: tuple[int, int]) -> Plan:
        return self.transform.draw(Plan.start(size), np.random.default_rng(0))

    def _shown(self, state: VideoState, spoken: Spoken) -> Results:
        """The roster of who has been shown is kept here; the mode does not know of it."""
        roster = state.roster
        assert state.size is not None
        sizes = self._sizes(state.size)
        while True:
            try:
                frame, after = next(spoken)
            except StopIteration as end:
                return replace(end.value, roster=roster)
            rows = rows_of(
                frame, sizes, task=self.task, head=self.model.task, selection=self.selection
            )
            events, roster = events_of(roster, rows, frame.living)
            yield self._result(frame, rows, events, replace(after, roster=roster))

    def _sizes(self, size: tuple[int, int]) -> FrameSizes:
        image = torch.empty(0, 3, *self._plan(size).size)
        return self.model.sizes({"images": image, "height": size[0], "width": size[1]})

    def _result(
        self, frame: SpokenFrame, rows: FrameRows, events: Events, state: VideoState
    ) -> FrameResult:
        labels = rows.labels.cpu().numpy()
        assert state.size is not None
        return FrameResult(
            index=frame.prediction.start,
            size=state.size,
            ids=rows.ids.cpu().numpy(),
            labels=labels,
            names=tuple(self.name(label) for label in labels.tolist()),
            scores=rows.scores.float().cpu().numpy(),
            frame_scores=rows.frame_scores.float().cpu().numpy(),
            visible=rows.visible.cpu().numpy(),
            new=events.new,
            returned=events.returned,
            departed=events.departed,
            state=state,
            lazy_masks=rows.masks,
        )


def _sized(state: VideoState, frame: np.ndarray) -> VideoState:
    """The state with the size of its frames, which must not change."""
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise ValueError(
            f"frame {state.frame} is {frame.shape} {frame.dtype}; need (H, W, 3) uint8 RGB"
        )
    size = (frame.shape[0], frame.shape[1])
    if state.size is not None and size != tuple(state.size):
        raise ValueError(
            f"frame {state.frame} is {size[0]} x {size[1]} pixels, the first one "
            f"{state.size[0]} x {state.size[1]}; begin a new video for another size"
        )
    return replace(state, size=size)
