"""Region similarity J and contour accuracy F of video object segmentation (Perazzi et al. 2016).

As DAVIS counts: J is the IoU of an object's masks in a frame; F matches the pixels of the two
outlines within 0.008 of the image diagonal and is the harmonic mean of precision and recall. An
object that both leave out scores 1 in both. Figures of an object are means over the frames, the
first (which is given) and the last left out; figures of a data set are means over all objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, hypot

import cv2
import numpy as np

TOLERANCE = 0.008  # of the image diagonal
RECALL_AT = 0.5
_QUARTERS = 4  # decay compares the first with the last quarter of the frames


@dataclass(frozen=True)
class ObjectScores:
    """J and F of G objects in T frames, (T, G) each, 0..1; and the objects' numbers, (G,)."""

    numbers: tuple[int, ...]
    region: np.ndarray
    boundary: np.ndarray


def object_scores(
    frames: Iterable[tuple[np.ndarray, np.ndarray]], numbers: Sequence[int]
) -> ObjectScores:
    """Compares two videos of label images.

    Args:
        frames: predicted and true object numbers (H, W) of each frame, 0 for the background.
        numbers: of the G objects that are scored.
    """
    region, boundary = [], []
    for predicted, actual in frames:
        masks = [(predicted == number, actual == number) for number in numbers]
        region.append([region_similarity(*pair) for pair in masks])
        boundary.append([contour_accuracy(*pair) for pair in masks])
    shape = len(region), len(numbers)
    tables = (np.array(values, float).reshape(shape) for values in (region, boundary))
    return ObjectScores(tuple(numbers), *tables)


def region_similarity(predicted: np.ndarray, actual: np.ndarray) -> float:
    """IoU of two bool masks (H, W); 1 if both are empty."""
    union = np.count_nonzero(predicted | actual)
    return np.count_nonzero(predicted & actual) / union if union else 1.0


def contour_accuracy(predicted: np.ndarray, actual: np.ndarray) -> float:
    """F of the outlines of two bool masks (H, W); 1 if neither has one."""
    reach = ceil(TOLERANCE * hypot(*actual.shape))
    box = _around(predicted | actual, reach + 1)
    ours, theirs = outline(predicted)[box], outline(actual)[box]
    count, wanted = np.count_nonzero(ours), np.count_nonzero(theirs)
    if not count or not wanted:
        return float(count == wanted)
    precision = np.count_nonzero(ours & _near(theirs, reach)) / count
    recall = np.count_nonzero(theirs & _near(ours, reach)) / wanted
    both = precision + recall
    return 2 * precision * recall / both if both else 0.0


def outline(mask: np.ndarray) -> np.ndarray:
    """Pixels that differ from the one to the right, below, or both; bool (H, W)."""
    right, below, both = mask.copy(), mask.copy(), mask.copy()
    right[:, :-1], below[:-1], both[:-1, :-1] = mask[:, 1:], mask[1:], mask[1:, 1:]
    both[-1, :-1], both[:-1, -1] = mask[-1, 1:], mask[1:, -1]
    edge = (mask ^ right) | (mask ^ below) | (mask ^ both)
    edge[-1, -1] = False
    return edge


def _around(mask: np.ndarray, margin: int) -> tuple[slice, slice]:
    """The part of an image with all that is set, and a margin."""
    slices = []
    for axis in (1, 0):
        set_ = np.flatnonzero(mask.any(axis))
        first, last = (set_[0], set_[-1]) if len(set_) else (0, 0)
        slices.append(slice(max(0, int(first) - margin), int(last) + margin + 1))
    return slices[0], slices[1]


def _near(edge: np.ndarray, reach: int) -> np.ndarray:
    """Pixels at most `reach` pixels from an edge; distances are exact square roots."""
    distance = cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return distance <= reach + 1e-3


def figures(videos: Iterable[ObjectScores], *, all_frames: bool = False) -> dict[str, float | None]:
    """J&F, and J and F with the share above 0.5 (recall) and the loss over time (decay).

    Args:
        videos: of a data set.
        all_frames: count the first and the last frame as well.
    """
    result: dict[str, float | None] = {}
    videos = list(videos)
    for name, field in (("J", "region"), ("F", "boundary")):
        tables = [getattr(video, field) for video in videos]
        columns = [c for t in tables for c in (t if all_frames else t[1:-1]).T if c.size]
        result |= {
            name: _mean([column.mean() for column in columns]),
            f"{name}_recall": _mean([(column > RECALL_AT).mean() for column in columns]),
            f"{name}_decay": _mean([_decay(column) for column in columns]),
        }
    both = result["J"], result["F"]
    mean = None if both[0] is None or both[1] is None else (both[0] + both[1]) / 2
    return {"J&F": mean} | result


def _decay(scores: np.ndarray) -> float:
    """Mean of the first quarter of the frames minus mean of the last."""
    bounds = np.round(np.linspace(1, len(scores), _QUARTERS + 1) + 1e-10).astype(int) - 1
    parts = [scores[a : b + 1] for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
    return float(parts[0].mean() - parts[-1].mean())


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
