"""Which frames of a video make a training clip: pure functions of length, settings and rng."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ClipSampling:
    """How T frames are chosen.

    With `2 * range + 1 == frames` the clip is a run of neighbouring frames (contiguous mode);
    otherwise it is one random frame and others from at most `range` frames around it
    (reference mode), in temporal order.

    Attributes:
        frames: T, frames in a clip.
        range: reach of the reference mode in frames, to both sides.
        stride: largest step between neighbours in contiguous mode; drawn from 1..stride.
        reverse: play half of the clips backwards.
        shuffle: put the frames in random order.
    """

    frames: int
    range: int
    stride: int = 1
    reverse: bool = False
    shuffle: bool = False

    def __post_init__(self) -> None:
        if self.frames < 1 or self.range < 0 or self.stride < 1:
            raise ValueError(f"clip settings need frames >= 1, range >= 0, stride >= 1: {self}")

    @property
    def contiguous(self) -> bool:
        return 2 * self.range + 1 == self.frames


def choose_frames(length: int, settings: ClipSampling, rng: np.random.Generator) -> list[int]:
    """Frame indices of one clip, `settings.frames` of them.

    A video that is too short for the mode repeats frames.

    Args:
        length: frames in the video, at least 1.
    """
    if settings.contiguous:
        chosen = _contiguous(length, settings, rng)
    else:
        chosen = _around_reference(length, settings, rng)
    if settings.reverse and rng.random() < 0.5:
        chosen = chosen[::-1]
    if settings.shuffle:
        chosen = rng.permutation(chosen)
    return [int(t) for t in chosen]


def _contiguous(length: int, settings: ClipSampling, rng: np.random.Generator) -> np.ndarray:
    steps = settings.frames - 1
    if length <= steps:
        return bounce(length, settings.frames)
    stride = int(rng.integers(1, settings.stride, endpoint=True))
    stride = min(stride, (length - 1) // steps) if steps else 1
    start = rng.integers(length - steps * stride)
    return start + stride * np.arange(settings.frames)


def _around_reference(length: int, settings: ClipSampling, rng: np.random.Generator) -> np.ndarray:
    reference = int(rng.integers(length))
    first, last = max(0, reference - settings.range), min(length, reference + settings.range + 1)
    pool = np.delete(np.arange(first, last), reference - first)
    if len(pool) == 0:
        return np.full(settings.frames, reference)
    others = rng.choice(pool, settings.frames - 1, replace=len(pool) < settings.frames - 1)
    return np.sort(np.append(others, reference))


def bounce(length: int, frames: int) -> np.ndarray:
    """`frames` indices that run through a shorter video forth and back: 0 1 2 1 0 1 ..."""
    period = np.append(np.arange(length), np.arange(length - 2, 0, -1))
    return np.resize(period, frames)
