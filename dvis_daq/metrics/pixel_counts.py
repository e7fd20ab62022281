"""Areas and intersections of run-length encoded masks, frame by frame, exact.

One call of pycocotools a frame gives the areas of all masks and all their intersections:
every list gets the whole frame as one more mask. An intersection i of masks with areas a and
b comes back as q = i / (a + b - i); i = q (a + b) / (1 + q) is exact after rounding, since q
is off by at most one part in 2^53 and i is below 2^32.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from itertools import starmap
from typing import NamedTuple

import numpy as np
from pycocotools import mask as coco

from dvis_daq.metrics.masks import Counts, Size, areas, as_rles

Masks = Sequence[Counts | None]  # of one track, T entries
Shape = tuple[int, int, int]  # of a video: frames, height, width
Group = tuple[Shape, Sequence[Masks], Sequence[Masks]]  # arguments of `count`

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
    length, *size = shape
    rows, columns = len(predicted), len(actual)
    if not rows or not columns:  # no pairs
        shared = np.zeros((length, rows, columns), np.int64)
        return PixelCounts(shared, _areas(predicted, shape), _areas(actual, shape))
    whole = coco.frPyObjects({"size": size, "counts": [0, size[0] * size[1]]}, *size)
    ratios = np.zeros((length, rows + 1, columns + 1))
    frames = zip(zip(*predicted, strict=True), zip(*actual, strict=True), strict=True)
    for (left, right), out in zip(frames, ratios, strict=True):
        _fill_ratios(left, right, whole, out)
    return _solve(ratios, size[0] * size[1])


def _fill_ratios(
    predicted: tuple[Counts | None, ...],
    actual: tuple[Counts | None, ...],
    whole: dict[str, object],
    out: np.ndarray,
) -> None:
    """Fills `out`, (P + 1, G + 1), with the IoU of one frame; the last ones are the whole frame."""
    size: Size = whole["size"]  # type: ignore[assignment]
    left = as_rles([mask for mask in predicted if mask is not None], size)
    right = as_rles([mask for mask in actual if mask is not None], size)
    left.append(whole)
    right.append(whole)
    ratios = coco.iou(left, right, [0] * len(right))
    if ratios.shape == out.shape:
        out[:] = ratios
    else:
        rows = [n for n, mask in enumerate(predicted) if mask is not None]
        columns = [n for n, mask in enumerate(actual) if mask is not None]
        out[np.array([*rows, -1])[:, None], [*columns, -1]] = ratios


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
