"""Areas and intersections of run-length encoded masks, frame by frame, exact.

pycocotools gives the IoUs of two lists of masks. Two devices make that enough, and fast:

* Every list gets the whole frame as one more mask, so the IoUs tell the areas too. An
  intersection i of masks with areas a and b comes back as q = i / (a + b - i), and
  i = q (a + b) / (1 + q) is exact after rounding: q is off by at most one part in 2^53 and i
  is below 2^32.
* Several frames share a call, since a call costs as much as comparing many masks. Masks of
  different widths are not compared, and the width is not used for anything else, so each
  frame of a call states a width of its own.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from itertools import starmap
from typing import NamedTuple

import numpy as np
from pycocotools import mask as coco

from dvis_daq.metrics.masks import Counts, Size, areas

Masks = Sequence[Counts | None]  # of one track, T entries
Shape = tuple[int, int, int]  # of a video: frames, height, width
Group = tuple[Shape, Sequence[Masks], Sequence[Masks]]  # arguments of `count`

_PAIRS_PER_CALL = 5_000  # square of the cost of a call over that of looking at a pair of masks
_MASKS_PER_WORKER = 20_000  # below, starting a process costs more than it saves


class PixelCounts(NamedTuple):
    """Pixels of P predictions and G objects in T frames, int64."""

    shared: np.ndarray  # (T, P, G)
    predicted: np.ndarray  # (T, P)
    actual: np.ndarray  # (T, G)


def count_many(groups: Sequence[Group], *, workers: int = 1) -> Iterator[PixelCounts]:
    """`count` of each group, in their order.

    Args:
        workers: processes at most; few masks are counted in this one. More than one needs an
            operating system that can fork.
    """
    masks = sum(len(track) for _, *sides in groups for side in sides for track in side)
    workers = min(workers, 1 + masks // _MASKS_PER_WORKER)
    if workers == 1 or "fork" not in multiprocessing.get_all_start_methods():
        yield from starmap(count, groups)
        return
    with multiprocessing.get_context("fork").Pool(workers, _inherit, (groups,)) as pool:
        yield from pool.imap(_count_inherited, range(len(groups)), chunksize=4)


_inherited: Sequence[Group] = ()  # in a worker: a forked process has the masks without copying


def _inherit(groups: Sequence[Group]) -> None:
    global _inherited
    _inherited = groups


def _count_inherited(index: int) -> PixelCounts:
    return count(*_inherited[index])


def count(shape: Shape, predicted: Sequence[Masks], actual: Sequence[Masks]) -> PixelCounts:
    """Counts the pixels of one video.

    Args:
        shape: its frames T, height and width.
        predicted, actual: masks of P and of G tracks.
    """
    length, height, width = shape
    rows, columns = len(predicted), len(actual)
    if not rows or not columns:  # no pairs
        shared = np.zeros((length, rows, columns), np.int64)
        return PixelCounts(shared, _areas(predicted, shape), _areas(actual, shape))
    whole = coco.frPyObjects(
        {"size": (height, width), "counts": [0, height * width]}, height, width
    )
    filled = [*predicted, [whole["counts"]] * length], [*actual, [whole["counts"]] * length]
    ratios = np.zeros((length, rows + 1, columns + 1))
    step = max(1, round((_PAIRS_PER_CALL / ((rows + 1) * (columns + 1))) ** 0.5))
    for start in range(0, length, step):
        _fill_ratios(*filled, (height, width), range(start, min(start + step, length)), ratios)
    return _solve(ratios, height * width)


def _fill_ratios(
    left: Sequence[Masks], right: Sequence[Masks], size: Size, frames: range, out: np.ndarray
) -> None:
    """Writes the IoUs of all tracks on the two sides to `out`, (T, left, right), in `frames`."""
    times, rows, rles = _present(left, size, frames)
    other_times, columns, other_rles = _present(right, size, frames)
    ratios = coco.iou(rles, other_rles, [0] * len(other_rles))
    i, j = np.nonzero(times[:, None] == other_times[None, :])
    out[times[i], rows[i], columns[j]] = ratios[i, j]


def _present(
    tracks: Sequence[Masks], size: Size, frames: range
) -> tuple[np.ndarray, np.ndarray, list[dict[str, object]]]:
    """Frame, track and RLE of all masks in `frames`; the width of an RLE marks the frame."""
    sizes = {t: (size[0], size[1] + t) for t in frames}
    present = [
        (t, n, {"size": sizes[t], "counts": masks[t]})
        for n, masks in enumerate(tracks)
        for t in frames
        if masks[t] is not None
    ]
    times, numbers, rles = zip(*present, strict=True)
    return np.array(times), np.array(numbers), list(rles)


def _solve(ratios: np.ndarray, pixels: int) -> PixelCounts:
    """Pixel counts from the IoUs (T, P + 1, G + 1) with frames of so many pixels."""
    predicted = np.rint(ratios[:, :-1, -1] * pixels).astype(np.int64)
    actual = np.rint(ratios[:, -1, :-1] * pixels).astype(np.int64)
    pairs = ratios[:, :-1, :-1]
    both = predicted[:, :, None] + actual[:, None, :]
    return PixelCounts(np.rint(pairs * both / (1 + pairs)).astype(np.int64), predicted, actual)


def _areas(tracks: Sequence[Masks], shape: Shape) -> np.ndarray:
    """(T, N) pixels of each mask."""
    result = np.zeros((shape[0], len(tracks)), np.int64)
    present = [(t, n, m) for n, masks in enumerate(tracks) for t, m in enumerate(masks) if m]
    if present:
        frames, columns, masks = zip(*present, strict=True)
        result[list(frames), list(columns)] = areas(masks, shape[1:])
    return result
