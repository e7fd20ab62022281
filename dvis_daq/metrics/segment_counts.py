"""Pixels that the segments of two panoptic videos share, frame by frame.

Everything that VPQ and STQ need: a tube over any frames is a sum of these counts, so every PNG
is read once, whatever the number of window sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np

from dvis_daq.freed_memory import keep_freed_memory
from dvis_daq.metrics.label_images import count_pairs, read_segment_ids
from dvis_daq.metrics.panoptic import Frames, PanopticFrame

ABSENT = -1  # class of a segment in a frame that does not list it
_THREADS = 4  # decoding and counting run outside of the interpreter's lock
_KEPT = 256 << 20  # bytes of freed memory


@dataclass(frozen=True)
class SegmentTable:
    """What a json says of S segments over T frames.

    Attributes:
        ids: (S,) in order of first listing.
        classes: (T, S) index into the sorted category ids, ABSENT where not listed.
        crowd: (T, S) bool.
        areas: (T, S) pixels as the json gives them, 0 where not listed.
        places: (T, S) place in the list of the frame.
    """

    ids: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
    places: np.ndarray

    @classmethod
    def of(cls, frames: Frames, class_index: dict[int, int]) -> SegmentTable:
        listed = chain.from_iterable(frame.segments for frame in frames)
        columns = {number: i for i, number in enumerate(dict.fromkeys(s.id for s in listed))}
        shape = len(frames), len(columns)
        classes, areas, places = np.full(shape, ABSENT), *np.zeros((2, *shape), np.int64)
        crowd = np.zeros(shape, bool)
        for t, frame in enumerate(frames):
            for place, segment in enumerate(frame.segments):
                column = columns[segment.id]
                classes[t, column] = class_index[segment.category_id]
                crowd[t, column], areas[t, column] = segment.crowd, segment.area
                places[t, column] = place
        return cls(np.array(list(columns), np.int64), classes, crowd, areas, places)

    @property
    def listed(self) -> np.ndarray:
        """(T, S) bool."""
        return self.classes != ABSENT


@dataclass(frozen=True)
class SegmentCounts:
    """Pixels of P predicted and G true segments in T frames of a video.

    Attributes:
        video: its id.
        shared: (T, P + 1, G + 1) int64; row 0 is predicted void, column 0 true void.
        predicted: of the P segments.
        actual: of the G segments.
    """

    video: str
    shared: np.ndarray
    predicted: SegmentTable
    actual: SegmentTable


def count_segments(
    video: str, predicted: Frames, actual: Frames, class_index: dict[int, int]
) -> SegmentCounts:
    """Reads the PNGs of a video, each once.

    Args:
        predicted, actual: T frames each, in the same order.
        class_index: place of each category id among the sorted ids.

    Raises:
        ValueError: a PNG is missing or broken, differs in size from the other, or does not agree
            with its json.
    """
    tables = SegmentTable.of(predicted, class_index), SegmentTable.of(actual, class_index)
    keep_freed_memory(_KEPT)
    shared = np.zeros((len(actual), *(len(table.ids) + 1 for table in tables)), np.int64)
    frames = list(enumerate(zip(predicted, actual, strict=True)))
    with ThreadPoolExecutor(_THREADS) as pool:
        shares = (frames[i::_THREADS] for i in range(_THREADS))
        for counted in pool.map(partial(_count_frames, tables=tables), shares):
            for t, rows, columns, pixels in counted:
                shared[t, rows, columns] = pixels
    for t, frame in enumerate(predicted):
        _check_drawn(shared[t].sum(1), frame, tables[0])
    return SegmentCounts(video, shared, *tables)


def _count_frames(
    frames: Sequence[tuple[int, tuple[PanopticFrame, PanopticFrame]]],
    tables: tuple[SegmentTable, SegmentTable],
) -> list[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Frame, row, column and pixels of what meets in some frames; holds two images."""
    first = second = None
    counted = []
    for t, (ours, theirs) in frames:
        first, second = read_segment_ids(ours.png, first), read_segment_ids(theirs.png, second)
        if first.shape != second.shape:
            raise ValueError(
                f"{ours.png} is {first.shape}, the ground truth {theirs.png} {second.shape} "
                "(height, width); write results at the original size"
            )
        rows, columns, pixels = count_pairs(first, second)
        places = _columns(rows, ours, tables[0]), _columns(columns, theirs, tables[1])
        counted.append((t, *places, pixels))
    return counted


def _columns(ids: np.ndarray, frame: PanopticFrame, table: SegmentTable) -> np.ndarray:
    """(N,) row or column of `shared` for N ids that pixels have."""
    listed = {segment.id for segment in frame.segments} | {0}
    odd = set(ids.tolist()) - listed
    if odd:
        raise ValueError(
            f"{frame.png} has pixels of the id {min(odd)}, which the json does not list for this "
            "frame; list every segment that has a pixel"
        )
    order = np.argsort(table.ids)
    places = np.searchsorted(table.ids, ids.astype(np.int64), sorter=order)
    return np.where(ids == 0, 0, order[places % max(len(order), 1)] + 1 if len(order) else 0)


def _check_drawn(pixels: np.ndarray, frame: PanopticFrame, table: SegmentTable) -> None:
    """Refuses predictions that list a segment without a pixel, as the public scorer does."""
    drawn = set(table.ids[pixels[1:] > 0].tolist())
    empty = [segment.id for segment in frame.segments if segment.id not in drawn]
    if empty:
        raise ValueError(
            f"{frame.png} has no pixel of the id {empty[0]}, which the json lists; list only "
            "segments that have a pixel in the frame"
        )


def window_sums(values: np.ndarray, frames: int) -> np.ndarray:
    """Sums over every run of `frames` frames: (T, ...) -> (T - frames + 1, ...)."""
    totals = np.cumsum(values, axis=0)
    totals[frames:] -= totals[:-frames].copy()
    return totals[frames - 1 :]


def first_listing(table: SegmentTable, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """The frame in which a segment is first listed, for every run of `frames` frames.

    Returns:
        (T - frames + 1, S) index of that frame, 0 where it is not listed; and bool, whether it is.
    """
    length = len(table.classes)
    following = np.full(table.classes.shape, length)
    upcoming = np.full(table.classes.shape[1], length)
    for t in range(length - 1, -1, -1):
        upcoming = np.where(table.listed[t], t, upcoming)
        following[t] = upcoming
    starts = np.arange(length - frames + 1)[:, None]
    first = following[: length - frames + 1]
    inside = first < starts + frames
    return np.where(inside, first, 0), inside


def class_indices(categories: Sequence[int]) -> dict[int, int]:
    """Place of each category id among all ids, sorted."""
    return {number: k for k, number in enumerate(sorted(categories))}
