"""Does a stream slow down or grow as it goes on? `python -m tests.unit.streaming.flat 500 10000`

Prints ratios of the late to the early part. Seconds are processor time of this thread. Other
processes disturb them even so, through caches; hence each step is divided by what the segmenter
alone took just before, on a picture that is always the same, and medians are compared. At the end
an early and a late state take turns, frame by frame.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from dvis_daq.predictor import VideoPredictor
from dvis_daq.streaming import FrameResult
from tests.unit.streaming.tiny import tiny_frames, tiny_predictor

MEASURED = 5  # one frame of these is measured


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call gives, and the processor seconds that it took."""
    started = time.thread_time()
    return call(), time.thread_time() - started


def shown(predictor: VideoPredictor, frame: np.ndarray) -> FrameResult:
    """A result that has made its masks."""
    result = predictor.step(frame)
    assert len(result.rles) == len(result)
    return result


def run(early: int, late: int) -> dict[str, float]:
    """Peak memory, state and seconds a frame: of frame `late`, as multiples of frame `early`.

    Args:
        early: frames after which the first look is taken.
        late: frames of the whole stream.
    """
    predictor, frames = tiny_predictor("DVIS_DAQ_online", max_tracks=12), tiny_frames()
    picture = torch.zeros(1, 3, 32, 64, dtype=torch.uint8)
    seconds, relative, looks, states = [], [], [], []
    for t in range(late):
        if t % MEASURED == 0:
            with torch.inference_mode():
                _, yardstick = timed(lambda: predictor.model.segmenter(picture))
        result, took = timed(lambda t=t: shown(predictor, frames[t % len(frames)]))
        if t % MEASURED == 0:
            seconds.append(took)
            relative.append(took / yardstick)
        if t + 1 in (early, late):
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            looks.append((peak, result.state.bytes()))
            states.append(result.state)
    (peak, state), (peak_late, state_late) = looks
    start, part = early // MEASURED, (late - early) // MEASURED // 4
    first = statistics.median(relative[start : start + part])
    last = statistics.median(relative[-part:])
    return {
        "megabytes": peak / 1024,
        "milliseconds": 1000 * statistics.median(seconds),
        "memory": peak_late / peak,
        "state": state_late / state,
        "latency": last / first,
        "latency_in_turns": _in_turns(predictor, states, frames, early),
    }


def _in_turns(
    predictor: VideoPredictor, states: list, frames: list[np.ndarray], count: int
) -> float:
    """The median of late over early seconds; the pair sees the same frame."""
    forks = [predictor.fork() for _ in states]
    for fork, state in zip(forks, states, strict=True):
        fork.restore(state)
    pairs = [
        [timed(lambda: shown(fork, frames[t % len(frames)]))[1] for fork in forks]  # noqa: B023
        for t in range(count)
    ]
    return statistics.median(late / early for early, late in pairs)


if __name__ == "__main__":
    print(json.dumps(run(*map(int, sys.argv[1:]))))
