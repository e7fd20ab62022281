"""Run-length encoded masks: one internal form for all that a json may hold.

Inside `metrics` a mask is the compressed COCO `counts` of a frame whose size is known from
the video, and a frame without a pixel may also be None. Files may hold compressed or
uncompressed run lengths, polygons, or null.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco

Counts = str | bytes
Size = tuple[int, int]  # (height, width) in pixels

_AREA_LIMIT = 255  # pycocotools keeps the number of masks in a uint8, which numpy 2 refuses
_FIRST_RUN = re.compile(r"[P-o]*[0-O]")  # base-32 digits; 'P'..'o' say that more follow


def to_counts(segmentation: object, size: Size) -> Counts | None:
    """Brings one entry of `segmentations` into compressed counts.

    Args:
        segmentation: null, {"size": [h, w], "counts": str | bytes | list of runs}, or a list
            of polygons [x1, y1, x2, y2, ...] in pixels.
        size: (height, width) of the video.

    Raises:
        ValueError: another size than the video's, runs that do not fill the frame, a polygon
            with fewer than three points, or none of these forms.
    """
    if segmentation is None:
        return None
    if isinstance(segmentation, dict):
        counts = segmentation.get("counts")
        if type(counts) is str and segmentation.get("size") == list(size):
            return counts  # as nearly all are
        return _from_run_lengths(counts, segmentation.get("size"), size)
    if isinstance(segmentation, list):
        return _from_polygons(segmentation, size)
    raise ValueError(f"a segmentation must be null, RLE or polygons, not {segmentation!r:.60}")


def _from_run_lengths(counts: object, stated: object, size: Size) -> Counts:
    """From the "counts" and the "size" of an RLE, whatever they are."""
    if not isinstance(stated, (list, tuple)) or counts is None:
        raise ValueError("an RLE needs 'size': [height, width] and 'counts'")
    if tuple(stated) != size:
        raise ValueError(f"the RLE has size {tuple(stated)}, the video {size} (height, width)")
    if isinstance(counts, (str, bytes)):
        return counts
    if not isinstance(counts, list) or not all(isinstance(n, int) and n >= 0 for n in counts):
        raise ValueError(f"RLE counts must be a string or a list of runs, not {counts!r:.60}")
    if sum(counts) != size[0] * size[1]:
        raise ValueError(f"the RLE covers {sum(counts)} pixels, the frame has {size[0] * size[1]}")
    return coco.frPyObjects({"size": size, "counts": counts}, *size)["counts"]


def _from_polygons(polygons: list[object], size: Size) -> Counts | None:
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise ValueError("a polygon needs an even number of at least 6 coordinates")
    if not polygons:
        return None
    return coco.merge(coco.frPyObjects(polygons, *size))["counts"]


def as_rles(masks: Sequence[Counts], size: Size) -> list[dict[str, object]]:
    """The dicts that pycocotools works on."""
    return [{"size": size, "counts": counts} for counts in masks]


def areas(masks: Sequence[Counts], size: Size) -> np.ndarray:
    """(N,) int64 pixels of each mask."""
    rles = as_rles(masks, size)
    pieces = [coco.area(rles[i : i + _AREA_LIMIT]) for i in range(0, len(rles), _AREA_LIMIT)]
    return np.concatenate([np.zeros(0, np.int64), *pieces])


def covered_pixels(masks: Sequence[Counts], size: Size) -> np.ndarray:
    """(N,) int64 pixels on which each mask says anything; height * width if it is sound.

    pycocotools never returns from an overlap of masks whose runs do not fill the frame, so
    strings from a file are checked before. There is no function for the sum of all runs, but
    areas are sums of every second one: without its first run and behind two empty runs a
    string encodes the same mask with set and unset pixels exchanged.
    """
    texts = [m.decode("ascii", "replace") if isinstance(m, bytes) else m for m in masks]
    heads = [_FIRST_RUN.match(text) for text in texts]
    ends = [0 if head is None else head.end() for head in heads]
    first = [_run_length(text[:end]) for text, end in zip(texts, ends, strict=True)]
    rest = ["00" + text[end:] for text, end in zip(texts, ends, strict=True)]
    return areas(texts, size) + areas(rest, size) + np.asarray(first, np.int64)


def _run_length(digits: str) -> int:
    """Reads one non-negative run: base 32, low digits first, code 48 + digit (+ 32: more)."""
    value = 0
    for digit in reversed(digits):
        value = 32 * value + ((ord(digit) - 48) & 31)
    return value
