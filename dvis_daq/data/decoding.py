"""Frames out of an open container (PyAV), one packet at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np


@dataclass(frozen=True)
class BrokenFrame:
    """A frame that could not be read, in place of it."""

    reason: str


def decoded(container: av.container.InputContainer) -> Iterator[np.ndarray | BrokenFrame]:
    """Frames of the first video stream, upright as its metadata says.

    A packet that cannot be decoded gives one `BrokenFrame`, and so does the place where the file
    itself cannot be read on.

    Yields:
        (H, W, 3) uint8 RGB.
    """
    packets = container.demux(video=0)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError as error:
            yield BrokenFrame(f"cannot be read on ({error.strerror})")
            return
        try:
            for frame in packet.decode():
                yield BrokenFrame("is damaged") if frame.is_corrupt else upright(frame)
        except av.FFmpegError as error:
            yield BrokenFrame(f"cannot be decoded ({error.strerror})")


def upright(frame: av.VideoFrame) -> np.ndarray:
    """(H, W, 3) uint8 RGB, turned as the metadata says."""
    image = frame.to_ndarray(format="rgb24")
    # np.rot90 turns against the clock, as `rotation` counts
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))
