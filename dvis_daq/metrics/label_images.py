"""Label images: what the pixels of a PNG say, and how two of them overlap."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

KINDS = {"L": "8-bit grey", "P": "a palette image"}


def read_segment_ids(path: Path, out: np.ndarray | None = None) -> np.ndarray:
    """(H, W) uint32 segment ids of a panoptic PNG, R + 256 G + 65536 B.

    Args:
        out: result of an earlier call that is no longer needed; fresh memory is what costs most
            beside decoding. Used if the size is the same.

    Raises:
        ValueError: no file, a broken one, or not 8-bit RGB.
    """
    _check_there(path)
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)  # BGR
    if pixels is None:
        raise ValueError(f"{path} is broken or cut short; write it again")
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ValueError(f"{path} must be 8-bit RGB, a segment id is R + 256 G + 65536 B")
    if out is None or out.shape != pixels.shape[:2]:
        out = np.empty(pixels.shape[:2], "<u4")
    # A fourth byte makes a pixel one number; it is 255 everywhere and cut off.
    cv2.cvtColor(pixels, cv2.COLOR_BGR2RGBA, dst=out.view(np.uint8).reshape(*out.shape, 4))
    out &= 0xFFFFFF
    return out


def read_labels(path: Path, modes: Sequence[str] = ("L", "P")) -> np.ndarray:
    """(H, W) uint8 values of a grey or palette PNG.

    Args:
        modes: "L" for grey, "P" for palette; others are refused.

    Raises:
        ValueError: no file, a broken one, or another kind of image.
    """
    _check_there(path)
    try:
        with Image.open(path) as image:
            if image.mode not in modes:
                wanted = " or ".join(KINDS[mode] for mode in modes)
                raise ValueError(f"{path} must be {wanted}, not of mode '{image.mode}'")
            return np.array(image)
    except OSError as error:
        raise ValueError(f"{path} is broken or cut short ({error}); write it again") from None


def read_size(path: Path) -> tuple[int, int]:
    """(height, width) in pixels of any image, from its first bytes.

    Raises:
        ValueError: no file, or no image.
    """
    _check_there(path)
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except OSError as error:
        raise ValueError(f"{path} is no image ({error})") from None


def count_pairs(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which values meet, and in how many pixels.

    Runs of equal pairs are counted, not pixels: label images have few.

    Args:
        first, second: of one shape and dtype, integers below 2^32.

    Returns:
        (N,) values of the first, of the second, and pixels (int64), sorted by the values.
    """
    first, second = first.ravel(), second.ravel()
    if not first.size:
        return first, second, np.zeros(0, np.int64)
    changes = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
    lengths = np.diff(starts, append=first.size)
    keys = first[starts].astype(np.uint64) << np.uint64(32) | second[starts].astype(np.uint64)
    pairs = np.unique(keys)
    pixels = np.bincount(np.searchsorted(pairs, keys), weights=lengths).astype(np.int64)
    low = np.uint64(0xFFFFFFFF)
    return pairs >> np.uint64(32), pairs & low, pixels


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise ValueError(f"{path} is missing; every frame needs its PNG")
