"""Video panoptic quality (Kim et al. 2020) over windows of several lengths.

As the public script of VIPSeg counts: in every window of k frames of every video a segment is
one tube; tubes of a class match if their IoU is above 0.5; PQ = sum of IoU / (TP + FP/2 + FN/2)
over all windows of all videos, then the mean over classes. VIPSeg's paper averages windows of
1, 2, 4 and 6 frames, its script those and 8.

VPQ^ed is a working definition (no public one exists): things only, and only tubes of objects
that emerge, disappear or come back are to be found; see `Rules`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from dvis_daq.metrics.events import Visibility
from dvis_daq.metrics.segment_counts import (
    SegmentCounts,
    SegmentTable,
    first_listing,
    window_sums,
)

WINDOWS = (1, 2, 4, 6, 8)  # frames; of the released script
PAPER_WINDOWS = (1, 2, 4, 6)  # of VIPSeg's paper


@dataclass
class ClassSums:
    """Sums over windows for K classes, (K,) each."""

    iou: np.ndarray
    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray

    @classmethod
    def zeros(cls, classes: int) -> ClassSums:
        return cls(np.zeros(classes), *np.zeros((3, classes), np.int64))

    def __iadd__(self, other: ClassSums) -> ClassSums:
        self.iou += other.iou
        self.tp += other.tp
        self.fp += other.fp
        self.fn += other.fn
        return self

    def quality(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """PQ, SQ and RQ of each class, fractions; NaN for a class without any tube."""
        weight = self.tp + self.fp / 2 + self.fn / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            found = np.where(self.tp > 0, self.iou / self.tp, 0.0)
            return self.iou / weight, np.where(weight > 0, found, np.nan), self.tp / weight

    def mean(self, classes: np.ndarray) -> dict[str, float | int | None]:
        """Means over the chosen classes (K,) bool that have a tube; "n" is their number."""
        keep = classes & (self.tp + self.fp + self.fn > 0)
        names = ("PQ", "SQ", "RQ")
        means = [float(part[keep].mean()) if keep.any() else None for part in self.quality()]
        return dict(zip(names, means, strict=True)) | {"n": int(keep.sum())}


@dataclass(frozen=True)
class _Tubes:
    """S segments in W windows: (W, S) each."""

    listed: np.ndarray  # bool
    classes: np.ndarray  # of the first frame that lists it
    crowd: np.ndarray  # bool, likewise
    rank: np.ndarray  # order of first listing within the window


def _tubes(table: SegmentTable, frames: int) -> _Tubes:
    first, listed = first_listing(table, frames)

    def at_first(values: np.ndarray) -> np.ndarray:
        return np.take_along_axis(values, first, axis=0)

    rank = first * (1 + table.places.max(initial=0)) + at_first(table.places)
    return _Tubes(listed, at_first(table.classes), at_first(table.crowd) & listed, rank)


def window_sums_by_class(
    counts: SegmentCounts, frames: int, classes: int, *, only: np.ndarray | None = None
) -> ClassSums:
    """Sums of one video for one window size; zeros if the video is shorter.

    Args:
        frames: of a window.
        classes: K.
        only: (G,) bool, true segments that are to be found; the others, and what matches them or
            lies on them, do not count (VPQ^ed). None counts all.
    """
    if len(counts.shared) < frames:
        return ClassSums.zeros(classes)
    ours, theirs = _tubes(counts.predicted, frames), _tubes(counts.actual, frames)
    shared = window_sums(counts.shared, frames)  # (W, P + 1, G + 1)
    iou = _overlap(shared, window_sums(counts.actual.areas, frames))
    same = _same_class(ours, theirs)
    hit = same & ~theirs.crowd[:, None] & (iou > 0.5)
    wanted = theirs.listed & ~theirs.crowd
    excused = _last_crowd(same & theirs.crowd[:, None], theirs.rank)
    counted = hit
    if only is not None:
        wanted = wanted & only
        counted = hit & only
        excused = same & (theirs.crowd[:, None] | ~only)
    on_excused = shared[:, 1:, 0] + (shared[:, 1:, 1:] * excused).sum(2)
    missed = wanted & ~hit.any(1)
    unmatched = ours.listed & ~hit.any(2)
    wrong = unmatched & (2 * on_excused <= shared[:, 1:].sum(2))
    labels = np.broadcast_to(theirs.classes[:, None], counted.shape)[counted]
    return ClassSums(
        np.bincount(labels, weights=iou[counted], minlength=classes),
        np.bincount(labels, minlength=classes),
        np.bincount(ours.classes[wrong], minlength=classes),
        np.bincount(theirs.classes[missed], minlength=classes),
    )


def _overlap(shared: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """(W, P, G) IoU outside of the void; `areas` (W, G) are those of the json, as released."""
    inter = shared[:, 1:, 1:]
    own = shared[:, 1:].sum(2) - shared[:, 1:, 0]
    union = own[:, :, None] + areas[:, None] - inter
    return np.divide(inter, union, out=np.zeros(inter.shape), where=inter > 0)


def _same_class(ours: _Tubes, theirs: _Tubes) -> np.ndarray:
    both = ours.listed[:, :, None] & theirs.listed[:, None]
    return both & (ours.classes[:, :, None] == theirs.classes[:, None])


def _last_crowd(crowd: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """Of the crowd tubes of a class the last one listed, as released: (W, P, G) bool."""
    order = np.where(crowd, rank[:, None], -1)
    return crowd & (order == order.max(2, keepdims=True, initial=-1))


def ed_segments(counts: SegmentCounts, things: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which true segments are things that emerge, disappear or come back.

    Args:
        things: (K,) bool.

    Returns:
        (G,) bool of them, and of all things; crowd and never visible ones are in neither.
    """
    table = counts.actual
    visible = counts.shared[:, :, 1:].sum(1) > 0  # (T, G)
    tubes = _tubes(table, len(table.classes))
    thing = things[tubes.classes[0]] & ~tubes.crowd[0] & visible.any(0)
    return thing & Visibility.of(visible).ed, thing


def ed_sums(counts: SegmentCounts, frames: int, things: np.ndarray, found: np.ndarray) -> ClassSums:
    """Sums of VPQ^ed, track form, of one video; classes of stuff stay 0.

    Args:
        things: (K,) bool.
        found: (G,) bool from `ed_segments`.
    """
    sums = window_sums_by_class(counts, frames, len(things), only=found)
    values = (np.where(things, part, 0) for part in (sums.iou, sums.tp, sums.fp, sums.fn))
    return ClassSums(*values)


def total(parts: Iterable[ClassSums], classes: int) -> ClassSums:
    """Their sum."""
    result = ClassSums.zeros(classes)
    for part in parts:
        result += part
    return result


def mean_over(windows: Sequence[float | None]) -> float | None:
    """Mean of a figure over window sizes; None where any is undefined."""
    defined = [value for value in windows if value is not None]
    return sum(defined) / len(windows) if len(defined) == len(windows) else None
