"""Frames out of an open container (PyAV), one packet at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np


@dataclass(frozen=True)
class BrokenFrame:
    """A frame that could not be read, in place of it.

    Attributes:
        reason: what is wrong, without the name of the video.
        last: no frame comes after it.
    """

    reason: str
    last: bool = False


def decoded(container: av.container.InputContainer) -> Iterator[np.ndarray | BrokenFrame]:
    """Frames of the first video stream, upright as its metadata says.

    A packet that cannot be decoded gives one `BrokenFrame`, and so does a frame of another size
    than the first, and the place where the file itself cannot be read on.

    Yields:
        (H, W, 3) uint8 RGB.
    """
    stream, size = container.streams.video[0], None
    for packet, fault in _packets(container.demux(stream)):
        try:
            for frame in stream.decode(packet):
                size = size or (frame.height, frame.width)
                yield _checked(frame, size)
        except av.FFmpegError as error:
            yield BrokenFrame(f"cannot be decoded ({reason_of(error)})")
        if fault is not None:
            yield BrokenFrame(f"cannot be read on ({reason_of(fault)})", last=True)


def _packets(
    packets: Iterator[av.Packet],
) -> Iterator[tuple[av.Packet | None, av.FFmpegError | None]]:
    """Packets, and at the end what stops the file from being read on.

    With that comes None instead of a packet: it makes the decoder hand over the frames it holds.
    """
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError as error:
            yield None, error
            return
        yield packet, None


def _checked(frame: av.VideoFrame, size: tuple[int, int]) -> np.ndarray | BrokenFrame:
    if frame.is_corrupt:
        return BrokenFrame("is damaged")
    if (frame.height, frame.width) != size:
        return BrokenFrame(unlike((frame.height, frame.width), size))
    return upright(frame)


def unlike(found: tuple[int, int], first: tuple[int, int]) -> str:
    """Why a frame is left out that has another (height, width) than the first one."""
    return f"is {found[1]} x {found[0]} pixels, the first frame {first[1]} x {first[0]}"


def reason_of(error: OSError | av.FFmpegError) -> str:
    """What went wrong, without the address, which may hold a password."""
    if isinstance(error, av.ExitError):  # how PyAV ends a call that takes too long
        return "no data within the time limit"
    return error.strerror or type(error).__name__


def upright(frame: av.VideoFrame) -> np.ndarray:
    """(H, W, 3) uint8 RGB, turned as the metadata says."""
    image = frame.to_ndarray(format="rgb24")
    # np.rot90 turns against the clock, as `rotation` counts
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))
