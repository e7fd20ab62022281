"""Greedy matching of predictions to objects, for many slices and IoU thresholds at once.

A *slice* is a subset of the objects that is scored on its own: an area range, an occlusion
level, objects that emerge. Objects outside of it are ignored: a prediction that matches one
is neither right nor wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dvis_daq.metrics.overlap import Overlap

THRESHOLDS = np.linspace(0.5, 0.95, 10)
MAX_PREDICTIONS = 100  # per video and category
EVERYTHING = (0.0, 1e10)


@dataclass(frozen=True)
class Slice:
    """Which objects count.

    Attributes:
        area: closed range of the mean area over visible frames, in pixels. Also predictions
            outside of it are ignored, unless they match an object that counts.
        occlusion: closed range of `ObjectTrack.occlusion`; None takes any.
        keeps: (Overlap) -> (G,) bool, a further condition on the objects; None takes any.
    """

    area: tuple[float, float] = EVERYTHING
    occlusion: tuple[float, float] | None = None
    keeps: Callable[[Overlap], np.ndarray] | None = None

    def ignored_objects(self, overlap: Overlap, areas: np.ndarray) -> np.ndarray:
        """(G,) bool: crowd, or outside of the slice. `areas` is (G,) in pixels."""
        crowd = np.array([item.crowd for item in overlap.objects], bool)
        ignored = crowd | _outside(areas, self.area)
        if self.occlusion is not None:
            degree = np.array([item.occlusion or 0.0 for item in overlap.objects], np.float64)
            ignored |= _outside(degree, self.occlusion)
        if self.keeps is not None:
            ignored |= ~self.keeps(overlap)
        return ignored


@dataclass(frozen=True)
class Matches:
    """The outcome for one video and category: S slices, H thresholds, P predictions.

    Attributes:
        scores: (P,) float64, falling.
        right: (S, H, P) bool, matched to an object that counts.
        wrong: (S, H, P) bool, a false positive; neither of the two is an ignored prediction.
        actual: (S,) int64 objects that count.
    """

    video_id: int
    category_id: int
    scores: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    actual: np.ndarray


def match(overlap: Overlap, slices: tuple[Slice, ...]) -> Matches:
    """Matches the best `MAX_PREDICTIONS` predictions in the order of their scores.

    A prediction takes the free object with the highest IoU at or above the threshold, of
    equal ones the last; an ignored object only where no other is left. A crowd object is
    always free. Unmatched predictions outside of the area range are ignored.
    """
    iou = overlap.iou()[:MAX_PREDICTIONS]
    areas = object_areas(overlap)
    ignored = np.stack([one.ignored_objects(overlap, areas) for one in slices])  # (S, G)
    taken_by = _greedy(iou, ignored, np.array([item.crowd for item in overlap.objects], bool))
    matched = taken_by >= 0  # (S, H, P)
    void = np.zeros_like(matched)
    if ignored.shape[1]:
        void = matched & np.take_along_axis(ignored[:, None, :], taken_by, axis=2)
    predicted_area = overlap.predicted_area()[:MAX_PREDICTIONS]
    outside = np.stack([_outside(predicted_area, one.area) for one in slices])  # (S, P)
    return Matches(
        video_id=overlap.video.id,
        category_id=overlap.category_id,
        scores=overlap.scores[:MAX_PREDICTIONS],
        right=matched & ~void,
        wrong=~matched & ~outside[:, None, :],
        actual=(~ignored).sum(1),
    )


def object_areas(overlap: Overlap) -> np.ndarray:
    """(G,) areas that decide on the range: those of the json, else those of the masks."""
    drawn = overlap.actual_area()
    given = [item.area for item in overlap.objects]
    return np.array([d if g is None else g for g, d in zip(given, drawn, strict=True)], np.float64)


def _greedy(iou: np.ndarray, ignored: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """Object taken by each prediction or -1, (S, H, P).

    Args:
        iou: (P, G), predictions in the order in which they choose.
        ignored: (S, G) bool.
        crowd: (G,) bool.
    """
    (count, objects), slices = iou.shape, len(ignored)
    taken_by = np.full((slices, len(THRESHOLDS), count), -1, np.int64)
    if not objects:
        return taken_by
    # ranks stand for IoUs, so that a bonus for objects that count cannot blur a tie
    rank = iou.argsort(axis=1, kind="stable").argsort(
        axis=1, kind="stable"
    )  # (P, G), ties: later wins
    bonus = np.where(ignored, 0, objects)[:, None, :]  # (S, 1, G)
    free = np.ones((slices, len(THRESHOLDS), objects), bool)
    reached = iou[:, None, :] >= THRESHOLDS[:, None]  # (P, H, G)
    for n in np.flatnonzero(reached.any((1, 2))):
        worth = np.where(free & reached[n], rank[n] + bonus, -1)  # (S, H, G)
        best = worth.argmax(-1)
        taken = np.take_along_axis(worth, best[..., None], axis=-1)[..., 0] >= 0
        taken_by[..., n] = np.where(taken, best, -1)
        s, h = np.nonzero(taken)
        free[s, h, best[s, h]] = crowd[best[s, h]]
    return taken_by


def _outside(values: np.ndarray, closed_range: tuple[float, float]) -> np.ndarray:
    return (values < closed_range[0]) | (values > closed_range[1])
