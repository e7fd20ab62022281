"""The frames of a video as JPEGs, and its masks, both within a number of bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

RLE = dict[str, Any]  # {"size": [H, W], "counts": str}

MASK_SIDE = 640  # px, longer side; the page draws outlines, finer masks would not show
# (longer side in px, JPEG quality), best first
_RUNGS = ((960, 85), (720, 80), (640, 70), (480, 65), (360, 60), (240, 55), (160, 50))


@dataclass(frozen=True)
class Pictures:
    """The frames of a video, encoded.

    Attributes:
        jpegs: one entry a frame; None where the frame before it stands for it.
        height, width: of the pictures, px.
    """

    jpegs: tuple[bytes | None, ...]
    height: int
    width: int

    @property
    def bytes(self) -> int:
        return sum(len(jpeg) for jpeg in self.jpegs if jpeg is not None)


def encode_frames(frames: Iterable[np.ndarray | None], *, budget: int) -> Pictures:
    """Encodes frames at the best size and quality that fit.

    Where even the smallest are too many, only every second, fourth, ... frame is kept.

    Args:
        frames: (H, W, 3) uint8 RGB of one size, None for a frame that could not be read; is
            iterated over several times.
        budget: bytes for all of them.

    Raises:
        ValueError: no frame can be read, or not even the first one fits.
    """
    for side, quality in _RUNGS:
        found = _encode(frames, side, quality, every=1, budget=budget)
        if found is not None:
            return found
    side, quality = _RUNGS[-1]
    every = 2
    while (found := _encode(frames, side, quality, every=every, budget=budget)) is None:
        every *= 2
        if every > 1 << 20:
            raise ValueError(f"no picture fits into {budget} bytes; allow a larger report")
    return found


def shrink_masks(masks: Sequence[RLE | None], side: int = MASK_SIDE) -> list[str | None]:
    """Compressed COCO counts of masks, at most `side` px long on their longer side.

    A mask that has a pixel keeps one.
    """
    return [None if mask is None else _shrink(mask, side) for mask in masks]


def fitted(height: int, width: int, side: int) -> tuple[int, int]:
    """(height, width) with the longer side at most `side`, at least one pixel each."""
    scale = min(1.0, side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _encode(
    frames: Iterable[np.ndarray | None], side: int, quality: int, *, every: int, budget: int
) -> Pictures | None:
    """None as soon as the budget is spent."""
    jpegs: list[bytes | None] = []
    spent, size = 0, None
    for index, frame in enumerate(frames):
        if frame is None or index % every and size is not None:
            jpegs.append(None)
            continue
        size = fitted(frame.shape[0], frame.shape[1], side)
        jpegs.append(_jpeg(frame, size, quality))
        spent += len(jpegs[-1] or b"")
        if spent > budget:
            return None
    if size is None:
        raise ValueError("the video has no frame that can be read")
    return Pictures(tuple(jpegs), *size)


def _jpeg(frame: np.ndarray, size: tuple[int, int], quality: int) -> bytes:
    if frame.shape[:2] != size:
        frame = cv2.resize(frame, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def _shrink(mask: RLE, side: int) -> str:
    height, width = mask["size"]
    size = fitted(height, width, side)
    counts = mask["counts"]
    if size != (height, width):
        share = coco_mask.decode(mask) * np.uint8(255)
        share = cv2.resize(share, (size[1], size[0]), interpolation=cv2.INTER_AREA)
        small = share >= 128
        small = small if small.any() else share > 0
        counts = coco_mask.encode(np.asfortranarray(small, dtype=np.uint8))["counts"]
    return counts.decode("ascii") if isinstance(counts, bytes) else counts
