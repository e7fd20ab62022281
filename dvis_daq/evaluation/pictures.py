"""Writes results as PNGs: segment ids as colours, grey labels, palette images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

Color = tuple[int, int, int]

_STEP = 0x25354B  # between colours of one class; odd, so that every colour is reached


def write_segments(path: Path, ids: np.ndarray) -> None:
    """Writes segment ids (H, W) below 2^24 as a panoptic PNG."""
    bgr = np.stack([ids >> 16, ids >> 8, ids], axis=-1).astype(np.uint8)  # the low byte is red
    _write(path, bgr)


def write_grey(path: Path, labels: np.ndarray) -> None:
    """Writes (H, W) uint8."""
    _write(path, labels)


def write_palette(path: Path, labels: np.ndarray) -> None:
    """Writes (H, W) uint8 as a palette image with the colours of PASCAL VOC and DAVIS."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels)
    image.putpalette(PALETTE.ravel().tolist())
    image.save(path)


def _write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), pixels):
        raise OSError(f"{path} could not be written")


def _palette() -> np.ndarray:
    """(256, 3) uint8: bits 0, 3, 6 of a number are the highest ones of red, and so on."""
    numbers = np.arange(256)
    colors = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colors[:, channel] |= ((numbers >> channel & 1) << (7 - bit)).astype(np.uint8)
        numbers = numbers >> 3
    return colors


PALETTE = _palette()


def segment_colors(categories: Iterable[int], colors: Mapping[int, Color]) -> list[int]:
    """An id for each segment of a video that is its colour, R + 256 G + 65536 B.

    The first segment of a class has the colour of the class, others the next free one at a
    fixed distance; none is 0, no two are the same.

    Args:
        categories: category id of each segment.
        colors: of the categories.
    """
    taken, ids = {0}, []
    for category in categories:
        red, green, blue = colors[category]
        number = red + (green << 8) + (blue << 16)
        while number in taken:
            number = (number + _STEP) % (1 << 24)
        taken.add(number)
        ids.append(number)
    return ids


def category_colors(categories: Sequence[Mapping[str, object]]) -> dict[int, Color]:
    """Colours of a data set's categories, from its json where that has them."""
    result = {}
    for place, category in enumerate(categories):
        color = category.get("color") or PALETTE[1 + place % 255].tolist()
        result[int(category["id"])] = tuple(color)  # type: ignore[call-overload]
    return result
