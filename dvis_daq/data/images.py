"""Frames from image files: one, or a whole video that is decoded where it is sliced."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dvis_daq.data.transforms import Plan

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"


def read_image(path: str | Path, size: tuple[int, int] | None = None) -> Tensor:
    """Reads an image file as (3, H, W) uint8 RGB, turned as its EXIF tag says.

    Args:
        path: any file that OpenCV reads (JPEG, PNG, WebP, ...).
        size: (height, width) that the annotations promise, in pixels; None takes any.

    Raises:
        ValueError: the file is missing, cut short, no image, or of another size.
    """
    if not Path(path).is_file():
        raise ValueError(f"{path}: image not found; check the image root and the file_names")
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)  # BGR
    if pixels is None or _is_cut_short(path):
        raise ValueError(f"{path}: broken or cut short, not a whole image; copy the file again")
    if size is not None and pixels.shape[:2] != tuple(size):
        raise ValueError(
            f"{path}: the image is {pixels.shape[:2]}, the annotations say {tuple(size)} "
            "(height, width); correct the json or resize the images"
        )
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)[::-1]))


def _is_cut_short(path: str | Path) -> bool:
    """Whether a JPEG lacks its end: OpenCV fills the rest with grey and does not complain."""
    with open(path, "rb") as file:
        start = file.read(2)
        file.seek(-2, 2)
        end = file.read(2)
    if start != JPEG_START or end == JPEG_END:
        return False
    try:  # some cameras append bytes of their own
        with Image.open(path) as image:
            image.load()
    except OSError:
        return True
    return False


class LazyClip:
    """The T frames of a video as a (T, 3, H, W) uint8 tensor that decodes what is sliced.

    `clip[a:b]` and `clip[t]` are tensors. After a slice, a thread decodes the one that would
    follow it, so a model that walks through a video does not wait. At most two slices are in
    memory, however long the video is; the object itself is small and travels between processes.

    Args:
        file_names: T image files.
        size: (height, width) of the files in pixels.
        plan: what happens to each frame.
    """

    def __init__(self, file_names: Sequence[str], size: tuple[int, int], plan: Plan) -> None:
        self.file_names = file_names
        self.size = size
        self.plan = plan
        self._thread: ThreadPoolExecutor | None = None
        self._ahead: tuple[range, Future[Tensor]] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return LazyClip, (self.file_names, self.size, self.plan)

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self.file_names), 3, *self.plan.size))

    def __len__(self) -> int:
        return len(self.file_names)

    def __getitem__(self, key: int | slice) -> Tensor:
        if isinstance(key, int):
            return self._frame(key)
        frames = range(len(self))[key]
        if self._ahead is not None and self._ahead[0] == frames:
            decoded = self._ahead[1].result()
        else:
            decoded = self._decode(frames)
        self._start(range(len(self))[frames.stop : frames.stop + len(frames)])
        return decoded

    def _start(self, frames: range) -> None:
        """Decodes `frames` in the background, if there are any."""
        if not frames:
            self._ahead = None
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="decode-ahead")
        self._ahead = (frames, self._thread.submit(self._decode, frames))

    def _decode(self, frames: range) -> Tensor:
        decoded = [self._frame(t) for t in frames]
        return torch.stack(decoded) if decoded else torch.empty(0, *self.shape[1:]).byte()

    def _frame(self, t: int) -> Tensor:
        return self.plan(read_image(self.file_names[t], self.size))
