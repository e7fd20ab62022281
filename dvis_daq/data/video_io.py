"""Frames in, from a folder, a glob, a video file or live; video files out (PyAV).

Sources decode one frame at a time. Those of files can be iterated again and again.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol

import av
import numpy as np

from dvis_daq.data.decoding import BrokenFrame, decoded, reason_of, unlike
from dvis_daq.data.files import natural_order
from dvis_daq.data.images import read_image
from dvis_daq.data.live import camera, network_stream

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
MP4_SUFFIXES = (".mp4", ".m4v", ".mov")


class FrameSource(Protocol):
    """A video to iterate over: (H, W, 3) uint8 RGB arrays of one size.

    Attributes:
        fps: frames per second, None if unknown.
        length: number of frames, None if unknown until they are read.
        live: the frames come once, and perhaps without end.
    """

    @property
    def fps(self) -> float | None: ...

    @property
    def length(self) -> int | None: ...

    @property
    def live(self) -> bool: ...

    def __iter__(self) -> Iterator[np.ndarray]: ...

    def attempts(self) -> Iterator[np.ndarray | BrokenFrame]:
        """The same, but a frame that cannot be read does not end it."""


def open_frames(source: str | os.PathLike) -> FrameSource:
    """Opens a folder of images, a glob of images (quoted, `clip/*.png`), a video file, a camera
    by its index, or a stream by its URL.

    Raises:
        ValueError: there is nothing to read.
    """
    text = os.fspath(source)
    path = Path(text)
    if path.is_dir():
        files = [file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES]
        if not files:
            raise ValueError(f"{path}: no images ({', '.join(IMAGE_SUFFIXES)}) in this folder")
        return ImageFiles(tuple(sorted(files, key=lambda file: natural_order(file.name))))
    if path.is_file():
        return VideoFile(path)
    if "://" in text:
        return network_stream(text)
    if text.isdecimal():
        return camera(int(text))
    matches = [Path(name) for name in glob.glob(text)]
    if not matches:
        raise ValueError(f"{text}: no such folder, video file or glob of images")
    return ImageFiles(tuple(sorted(matches, key=lambda file: natural_order(file.name))))


@dataclass(frozen=True)
class ImageFiles:
    """A video whose frames are image files, in this order.

    Iterating raises ValueError with the name of a file that is broken or of another size
    than the first.
    """

    paths: tuple[Path, ...]

    @property
    def fps(self) -> None:
        return None

    live = False

    @property
    def length(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (_whole(frame, "") for frame in self.attempts())

    def attempts(self) -> Iterator[np.ndarray | BrokenFrame]:
        size = None
        for path in self.paths:
            try:
                frame = read_image(path).permute(1, 2, 0).numpy()
            except ValueError as error:
                yield BrokenFrame(str(error))
                continue
            found = (frame.shape[0], frame.shape[1])
            size = size or found
            yield frame if found == size else BrokenFrame(f"{path}: {unlike(found, size)}")


@dataclass(frozen=True)
class VideoFile:
    """The first video stream of a file, upright as its metadata says.

    Raises ValueError with the name of the file where it cannot be decoded.
    """

    path: Path

    def __post_init__(self) -> None:
        with self._opened() as container:
            if not container.streams.video:
                raise ValueError(f"{self.path}: has no video stream")

    @property
    def fps(self) -> float | None:
        with self._opened() as container:
            rate = container.streams.video[0].average_rate
        return float(rate) if rate else None

    @property
    def length(self) -> int | None:
        with self._opened() as container:
            return container.streams.video[0].frames or None

    live = False

    def __iter__(self) -> Iterator[np.ndarray]:
        for count, frame in enumerate(self.attempts()):
            yield _whole(frame, f"{self.path}: frame {count} ")

    def attempts(self) -> Iterator[np.ndarray | BrokenFrame]:
        found = False
        with self._opened() as container:
            for frame in decoded(container):
                found = found or not isinstance(frame, BrokenFrame)
                yield frame
        if not found:
            raise ValueError(f"{self.path}: holds no frame that can be decoded")

    def _opened(self) -> av.container.InputContainer:
        try:
            return av.open(os.fspath(self.path))
        except av.FFmpegError as error:
            raise ValueError(f"{self.path}: is no readable video ({reason_of(error)})") from error


def _whole(frame: np.ndarray | BrokenFrame, place: str) -> np.ndarray:
    """The frame; raises ValueError for one that is broken, `place` naming it."""
    if isinstance(frame, BrokenFrame):
        raise ValueError(f"{place}{frame.reason}")
    return frame


class VideoWriter:
    """Writes a video file that appears only when it is complete.

    H.264 where PyAV has an encoder for it, MPEG-4 otherwise. Frames go to a temporary file
    beside `path`, which takes its name when the `with` block ends without an exception.

    Args:
        path: the suffix tells the container, `.mp4` for instance.
        fps: frames per second.
    """

    def __init__(self, path: str | os.PathLike, *, fps: float) -> None:
        if not fps > 0:
            raise ValueError(f"{path}: fps must be positive, got {fps}")
        self.path = Path(path)
        self.fps = Fraction(fps).limit_denominator(1000)
        self._part = self.path.with_name(f".{self.path.stem}.part{self.path.suffix}")
        self._size: tuple[int, int] | None = None

    def __enter__(self) -> VideoWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # the index first, so that a browser can play it while it is being loaded
            index = {"movflags": "+faststart"} if self.path.suffix in MP4_SUFFIXES else {}
            self._container = av.open(os.fspath(self._part), "w", container_options=index)
        except (av.FFmpegError, ValueError) as error:
            raise ValueError(f"{self.path}: cannot be written as a video ({error})") from error
        return self

    def write(self, frame: np.ndarray) -> None:
        """Appends a frame.

        Args:
            frame: (H, W, 3) uint8 RGB, all of one size; an odd side is padded by one pixel.
        """
        if self._size is None:
            self._size = (frame.shape[0], frame.shape[1])
            self._start(*self._size)
        expected = (*self._size, 3)
        if frame.shape != expected or frame.dtype != np.uint8:
            found = f"{frame.shape} {frame.dtype}"
            raise ValueError(f"{self.path}: frame is {found}, expected {expected} uint8")
        even = np.pad(frame, [(0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)], "edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        try:
            self._container.mux(self._stream.encode(picture))
        except av.FFmpegError as error:
            height, width = self._size
            raise ValueError(
                f"{self.path}: {width} x {height} pixels cannot be encoded ({reason_of(error)})"
            ) from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        complete = False
        try:
            if kind is None and self._size is not None:
                self._container.mux(self._stream.encode())
                complete = True
        finally:
            self._container.close()
            if complete:
                self._part.replace(self.path)
            else:
                self._part.unlink(missing_ok=True)
        if kind is None and not complete:
            raise ValueError(f"{self.path}: no frame was written")

    def _start(self, height: int, width: int) -> None:
        h264 = "libx264" in av.codecs_available
        self._stream = self._container.add_stream("libx264" if h264 else "mpeg4", rate=self.fps)
        self._stream.pix_fmt = "yuv420p"  # what every player can show; needs even sides
        self._stream.height, self._stream.width = height + height % 2, width + width % 2
        if h264:
            self._stream.options = {"crf": "18"}
        else:
            self._stream.bit_rate = 8 * height * width * 3  # generous
