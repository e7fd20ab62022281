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

from dvis_daq.data.errors import BrokenDataError
from dvis_daq.data.transforms import Plan, Size

# First and last two bytes of a JPEG, and of a PNG (the checksum of its chunk IEND).
ENDS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"\x60\x82"}
EXIF_ORIENTATION = 0x0112
TURNED = (5, 6, 7, 8)  # orientations that swap height and width


def read_image(path: str | Path, size: Size | None = None) -> Tensor:
    """Reads an image file as (3, H, W) uint8 RGB, turned as its EXIF tag says.

    Args:
        path: any file that OpenCV reads (JPEG, PNG, WebP, ...).
        size: (height, width) that the annotations promise, in pixels; None takes any.

    Raises:
        BrokenDataError: the file is missing, cut short, no image, or of another size.
    """
    _check_exists(path)
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)  # BGR
    if pixels is None or _is_cut_short(path):
        raise _not_whole(path)
    _check_size(path, pixels, size)
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)[::-1]))


def read_labels(path: str | Path, size: Size | None = None) -> np.ndarray:
    """Reads a PNG whose values are labels: (H, W) or, where they take three bytes, (H, W, 3).

    Args:
        path: grey, palette (its indices are returned) or RGB.
        size: (height, width) that it must have, in pixels; None takes any.

    Raises:
        BrokenDataError: as for `read_image`.
    """
    _check_exists(path)
    try:
        with Image.open(path) as image:
            labels = np.asarray(image)
    except (OSError, SyntaxError) as error:  # what Pillow raises for a damaged PNG
        raise _not_whole(path) from error
    _check_size(path, labels, size)
    return labels


def image_size(path: str | Path) -> Size:
    """(height, width) as the image is shown, from the header of the file.

    Raises:
        BrokenDataError: the file is missing or no image.
    """
    _check_exists(path)
    try:
        with Image.open(path) as image:
            width, height = image.size
            # only a JPEG has it in its header; for a PNG Pillow would decode the whole image
            turned = image.format == "JPEG" and image.getexif().get(EXIF_ORIENTATION) in TURNED
    except (OSError, SyntaxError) as error:
        raise _not_whole(path) from error
    return (width, height) if turned else (height, width)


def _check_exists(path: str | Path) -> None:
    if not Path(path).is_file():
        message = f"{path}: image not found; check the image root and the file_names"
        raise BrokenDataError(message)


def _check_size(path: str | Path, pixels: np.ndarray, size: Size | None) -> None:
    if size is not None and pixels.shape[:2] != tuple(size):
        raise BrokenDataError(
            f"{path}: the image is {pixels.shape[:2]}, the annotations say {tuple(size)} "
            "(height, width); correct the json or resize the images"
        )


def _not_whole(path: str | Path) -> BrokenDataError:
    return BrokenDataError(f"{path}: broken or cut short, not a whole image; copy the file again")


def _is_cut_short(path: str | Path) -> bool:
    """Whether a file lacks its end: OpenCV fills the rest with grey and does not complain."""
    with open(path, "rb") as file:
        start = file.read(2)
        file.seek(-2, 2)
        end = file.read(2)
    if ENDS.get(start) in (None, end):
        return False
    try:  # some cameras append bytes of their own
        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError):
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
        if not frames:
            return torch.empty(0, *self.shape[1:]).byte()
        decoded = torch.stack([self._frame(t) for t in frames])
        # pinned memory reaches a GPU while the host goes on
        return decoded.pin_memory() if torch.cuda.is_available() else decoded

    def _frame(self, t: int) -> Tensor:
        return self.plan(read_image(self.file_names[t], self.size))
