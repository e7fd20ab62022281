"""The first pass of a job: frames through the model, results into the journal."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from tqdm import tqdm

from dvis_daq.data.decoding import BrokenFrame
from dvis_daq.data.video_io import FrameSource
from dvis_daq.demo.journal import Journal
from dvis_daq.predictor import VideoPredictor
from dvis_daq.streaming import CutRule, FrameResult, VideoState

logger = logging.getLogger(__name__)

Watch = Callable[[FrameResult, np.ndarray], None]


@dataclass
class Segmenting:
    """One pass over a source.

    Attributes:
        predictor: of any task.
        source: of the frames.
        journal: is told everything.
        save_every: seconds between two states on disk.
        cut: where shots begin; None: nowhere.
        limit: frames at most.
        batch: frames that pass the segmenter at once.
        watch: is shown each result with its frame, as soon as it is there.
    """

    predictor: VideoPredictor
    source: FrameSource
    journal: Journal
    save_every: float
    cut: CutRule | None = None
    limit: int | None = None
    batch: int = 1
    watch: Watch | None = None
    _kept: dict[int, np.ndarray] = field(default_factory=dict)

    def run(self) -> None:
        """Goes on where the journal ends, and to the end of the source.

        A live source may be ended by an interrupt (Ctrl-C); any other is saved first, so that
        the same job can go on.
        """
        state = self._resumed()
        last, saved = state, time.monotonic()
        results = self.predictor.stream(
            self._frames(state.frame), state=state, batch=self.batch, cut=self._noted_cut
        )
        with bar("segment", self.source, self.limit, done=state.spoken) as progress:
            try:
                for result in results:
                    last = self._take(result)
                    progress.set_postfix_str(f"{len(result)} objects", refresh=False)
                    progress.update()
                    if time.monotonic() - saved > self.save_every:
                        self.journal.save(last)
                        saved = time.monotonic()
            except KeyboardInterrupt:
                self.journal.save(last)
                if not self.source.live:
                    raise

    def _resumed(self) -> VideoState:
        if not self.journal.state_file.exists():
            self.journal.rewind(VideoState())
            return VideoState()
        state = self.predictor.restore(self.journal.state_file)
        self.journal.rewind(state)
        logger.info("goes on with frame %d", state.spoken)
        return state

    def _take(self, result: FrameResult) -> VideoState:
        self.journal.add_result(result)
        if self.watch is not None:
            self.watch(result, self._kept.pop(result.index))
        return result.state

    def _frames(self, start: int) -> Iterator[np.ndarray | None]:
        """Frames from `start` on, None for a broken one."""
        for index, frame in enumerate(islice(self.source.attempts(), self.limit)):
            broken = isinstance(frame, BrokenFrame)
            if index < start:
                if index == start - 1 and not broken and self.cut is not None:
                    self.cut(index, frame)  # what the next frame is compared with
            elif broken:
                logger.warning("frame %d is skipped: %s", index, frame.reason)
                self.journal.add({"t": index, "skipped": frame.reason})
                yield None
            else:
                if self.watch is not None:
                    self._kept[index] = frame
                yield frame

    def _noted_cut(self, index: int, frame: np.ndarray) -> bool:
        starts = self.cut is not None and self.cut(index, frame)
        if starts:
            self.journal.add({"t": index, "cut": True})
        return starts


def bar(text: str, source: FrameSource, limit: int | None, done: int = 0) -> tqdm:
    """A progress bar with frames per second and the time that is left."""
    total = min((n for n in (source.length, limit) if n is not None), default=None)
    return tqdm(desc=text, total=total, initial=done, unit="frame", disable=None)
