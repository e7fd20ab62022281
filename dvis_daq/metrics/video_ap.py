"""Average precision and recall of tracks: YouTube-VIS, OVIS, and splits by video.

The figures of the public YouTube-VIS evaluator (IoU 0.50..0.95 over the whole video, 101
recall points, at most 100 predictions per video and category) and, where the ground truth
tells the occlusion, the further ones of the OVIS evaluator. Matching is done once per video
and category (`matching.match`); any choice of videos is then only summed up again.

    slices = area_slices()
    pairs = overlaps(truth, read_results("results.json", truth), limit=MAX_PREDICTIONS)
    matches = [match(pair, tuple(slices.values())) for pair in pairs]
    figures(accumulate(matches, names=slices, categories=truth.categories))["AP"]
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import numpy as np

from dvis_daq.metrics.matching import EVERYTHING, THRESHOLDS, Matches, Slice
from dvis_daq.metrics.overlap import Overlap

Figures = dict[str, float | None]  # fractions 0..1; None where nothing is defined

RECALLS = np.linspace(0.0, 1.0, 101)
AREAS = {"s": (0.0, 128.0**2), "m": (128.0**2, 256.0**2), "l": (256.0**2, 1e10)}
OCCLUSIONS = {"_light": (0.0, 0.25), "_medium": (0.25, 0.5), "_heavy": (0.5, 1.0)}


def area_slices(
    prefix: str = "", keeps: Callable[[Overlap], np.ndarray] | None = None
) -> dict[str, Slice]:
    """All objects and the three area ranges, named by `prefix` + the ending of their figures."""
    ranges = {"": EVERYTHING, **AREAS}
    return {prefix + name: Slice(area=area, keeps=keeps) for name, area in ranges.items()}


def occlusion_slices() -> dict[str, Slice]:
    """The three occlusion levels of OVIS."""
    return {name: Slice(occlusion=level) for name, level in OCCLUSIONS.items()}


@dataclass(frozen=True)
class Curves:
    """Summed-up matches: K categories, S slices, H thresholds. NaN where no object counts.

    Attributes:
        categories: K ids.
        names: of the S slices; "" is the one of all objects.
        precision: (K, S, H) mean over the 101 recall points.
        recall: {1, 10, 100: (K, S, H)} final recall with so many predictions per video.
    """

    categories: tuple[int, ...]
    names: tuple[str, ...]
    precision: np.ndarray
    recall: dict[int, np.ndarray]

    def select(self, names: Iterable[str], prefix: str = "") -> Curves:
        """The slices `prefix + name`, called `name` from now on."""
        names = tuple(names)
        rows = [self.names.index(prefix + name) for name in names]
        recall = {limit: table[:, rows] for limit, table in self.recall.items()}
        return Curves(self.categories, names, self.precision[:, rows], recall)


def accumulate(
    matches: Iterable[Matches],
    *,
    names: Iterable[str],
    categories: Iterable[int],
    videos: Collection[int] | None = None,
) -> Curves:
    """Sums up matches over videos.

    Args:
        matches: in rising video id, of all categories.
        names: of the S slices that were matched.
        categories: K ids.
        videos: count only these videos; None counts all.
    """
    groups: dict[int, list[Matches]] = {category: [] for category in categories}
    for one in matches:
        if videos is None or one.video_id in videos:
            groups[one.category_id].append(one)
    names = tuple(names)
    shape = (len(groups), len(names), len(THRESHOLDS))
    precision = np.full(shape, np.nan)
    recall = {limit: np.full(shape, np.nan) for limit in (1, 10, 100)}
    for k, group in enumerate(groups.values()):
        if not group:
            continue
        actual = np.sum([one.actual for one in group], axis=0)[:, None]  # (S, 1)
        for limit, table in recall.items():
            right, wrong = _ranked(group, limit)
            np.divide(right[..., -1], actual, out=table[k], where=actual > 0)
        precision[k] = _mean_precision(right, wrong, actual[:, 0])
    return Curves(tuple(groups), names, precision, recall)


def _ranked(group: list[Matches], limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Running counts (S, H, N + 1) of right and wrong by falling score; the first are 0."""
    scores = np.concatenate([one.scores[:limit] for one in group])
    order = np.argsort(-scores, kind="stable")
    right = np.concatenate([one.right[..., :limit] for one in group], axis=-1)[..., order]
    wrong = np.concatenate([one.wrong[..., :limit] for one in group], axis=-1)[..., order]
    pad = ((0, 0), (0, 0), (1, 0))
    return np.pad(right.cumsum(-1), pad), np.pad(wrong.cumsum(-1), pad)


def _mean_precision(right: np.ndarray, wrong: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """(S, H) mean over the recall points of the best precision at that recall or above."""
    right, wrong = right[..., 1:], wrong[..., 1:]
    precision = right / (right + wrong + np.spacing(1))
    best = np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
    best = np.concatenate([best, np.zeros((*best.shape[:2], 1))], axis=-1)  # recall not reached
    mean = np.full(right.shape[:2], np.nan)
    for s, h in np.ndindex(*mean.shape):
        if actual[s]:
            recall = right[s, h] / actual[s]
            mean[s, h] = best[s, h, np.searchsorted(recall, RECALLS, side="left")].mean()
    return mean


def figures(curves: Curves) -> Figures:
    """AP, AP50, AP75, AP<slice>..., AR1, AR10, AR100, AR<slice>... .

    Means over the categories that have an object in the slice; None if none has.
    """
    everything = curves.names.index("")
    others = [(s, name) for s, name in enumerate(curves.names) if name]
    precision, recall = curves.precision, curves.recall
    result = {
        "AP": _mean(precision[:, everything]),
        "AP50": _mean(precision[:, everything, 0]),
        "AP75": _mean(precision[:, everything, 5]),
    }
    result |= {f"AP{name}": _mean(precision[:, s]) for s, name in others}
    result |= {f"AR{limit}": _mean(table[:, everything]) for limit, table in recall.items()}
    result |= {f"AR{name}": _mean(recall[100][:, s]) for s, name in others}
    return result


def per_class(curves: Curves) -> dict[int, Figures]:
    """AP, AP50, AP75 and AR100 of each category id."""
    everything = curves.names.index("")
    result = {}
    for k, category in enumerate(curves.categories):
        precision, recall = curves.precision[k, everything], curves.recall[100][k, everything]
        result[category] = {
            "AP": _mean(precision),
            "AP50": _mean(precision[0]),
            "AP75": _mean(precision[5]),
            "AR100": _mean(recall),
        }
    return result


def _mean(values: np.ndarray) -> float | None:
    """Mean of what is defined."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else None
