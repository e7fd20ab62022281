"""Pixels that predicted and true tracks of a video share, frame by frame.

One call of pycocotools a frame and category gives the areas of all masks and all their
intersections: every list gets the whole frame as one more mask. An intersection i of masks
with areas a and b comes back as q = i / (a + b - i); i = q (a + b) / (1 + q) is exact after
rounding, since q is off by at most one part in 2^53 and i is below 2^32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from pycocotools import mask as coco

from dvis_daq.metrics.masks import Counts, Size, areas, as_rles
from dvis_daq.metrics.tracks import GroundTruth, ObjectTrack, PredictedTrack, Video

Track = TypeVar("Track", PredictedTrack, ObjectTrack)


@dataclass(frozen=True)
class Overlap:
    """Predictions and objects of one category in one video.

    Attributes:
        video: the video, T frames.
        category_id: their category.
        predictions: P predictions, best score first, ties in file order.
        objects: G objects in file order.
        shared: (T, P, G) int64 pixels of both.
        predicted: (T, P) int64 pixels of each prediction.
        actual: (T, G) int64 pixels of each object.
    """

    video: Video
    category_id: int
    predictions: tuple[PredictedTrack, ...]
    objects: tuple[ObjectTrack, ...]
    shared: np.ndarray
    predicted: np.ndarray
    actual: np.ndarray

    @property
    def scores(self) -> np.ndarray:
        """(P,) float64, falling."""
        return np.array([prediction.score for prediction in self.predictions], np.float64)

    @property
    def visible(self) -> np.ndarray:
        """(T, G) bool, whether an object has a pixel in a frame."""
        return self.actual > 0

    def iou(self) -> np.ndarray:
        """(P, G) IoU over the whole video: sum of intersections / sum of unions, 0 for 0 / 0."""
        shared = self.shared.sum(0)
        union = self.predicted.sum(0)[:, None] + self.actual.sum(0)[None, :] - shared
        return shared / np.maximum(union, 1)

    def frame_iou(self) -> np.ndarray:
        """(T, P, G) IoU in each frame, 0 for 0 / 0."""
        union = self.predicted[:, :, None] + self.actual[:, None, :] - self.shared
        return self.shared / np.maximum(union, 1)

    def predicted_area(self) -> np.ndarray:
        """(P,) mean pixels over the frames in which a prediction is not empty, or 0."""
        return _mean_visible(self.predicted)

    def actual_area(self) -> np.ndarray:
        """(G,) mean pixels over the frames in which an object is visible, or 0."""
        return _mean_visible(self.actual)


def overlaps(
    truth: GroundTruth, predictions: Sequence[PredictedTrack], *, limit: int | None = None
) -> Iterator[Overlap]:
    """Yields every video and category that has an object or a prediction, videos in rising id.

    Args:
        truth: ground truth; predictions of videos that it does not have are left out.
        predictions: in file order.
        limit: keep so many of the best predictions of each video and category.
    """
    found = _group(predictions)
    objects = _group(truth.tracks)
    for video in truth.videos.values():
        for category in truth.categories:
            key = (video.id, category)
            if key in found or key in objects:
                ranked = sorted(found.get(key, ()), key=lambda p: -p.score)[:limit]
                yield _overlap(video, category, tuple(ranked), tuple(objects.get(key, ())))


def _group(tracks: Sequence[Track]) -> dict[tuple[int, int], list[Track]]:
    groups: dict[tuple[int, int], list[Track]] = {}
    for track in tracks:
        groups.setdefault((track.video_id, track.category_id), []).append(track)
    return groups


def _overlap(
    video: Video,
    category: int,
    predictions: tuple[PredictedTrack, ...],
    objects: tuple[ObjectTrack, ...],
) -> Overlap:
    rows, columns = len(predictions), len(objects)
    if not rows or not columns:  # areas alone
        predicted = _areas(predictions, video)
        actual = _areas(objects, video)
        shared = np.zeros((video.length, rows, columns), np.int64)
        return Overlap(video, category, predictions, objects, shared, predicted, actual)
    ratios = np.zeros((video.length, rows + 1, columns + 1))
    frames = zip(
        zip(*(prediction.masks for prediction in predictions), strict=True),
        zip(*(item.masks for item in objects), strict=True),
        ratios,
        strict=True,
    )
    whole = _whole_frame(video.size)
    for left, right, out in frames:
        _frame_ratios(left, right, video.size, whole, out)
    pixels = video.height * video.width
    predicted = np.rint(ratios[:, :rows, columns] * pixels).astype(np.int64)
    actual = np.rint(ratios[:, rows, :columns] * pixels).astype(np.int64)
    pairs = ratios[:, :rows, :columns]
    both = predicted[:, :, None] + actual[:, None, :]
    shared = np.rint(pairs * both / (1 + pairs)).astype(np.int64)
    return Overlap(video, category, predictions, objects, shared, predicted, actual)


def _frame_ratios(
    predicted: Sequence[Counts | None],
    actual: Sequence[Counts | None],
    size: Size,
    whole: Counts,
    out: np.ndarray,
) -> None:
    """Fills `out`, (P + 1, G + 1), with the IoU of one frame; the last ones are the whole frame."""
    rows = [n for n, mask in enumerate(predicted) if mask is not None]
    columns = [n for n, mask in enumerate(actual) if mask is not None]
    left = as_rles([*(predicted[n] for n in rows), whole], size)  # type: ignore[list-item]
    right = as_rles([*(actual[n] for n in columns), whole], size)  # type: ignore[list-item]
    ratios = coco.iou(left, right, [0] * len(right))
    if ratios.shape == out.shape:
        out[:] = ratios
    else:
        out[np.array([*rows, -1])[:, None], [*columns, -1]] = ratios


def _areas(tracks: Sequence[Track], video: Video) -> np.ndarray:
    """(T, N) pixels of each mask."""
    result = np.zeros((video.length, len(tracks)), np.int64)
    present = [(t, n, m) for n, track in enumerate(tracks) for t, m in enumerate(track.masks) if m]
    if present:
        frames, columns, masks = zip(*present, strict=True)
        result[list(frames), list(columns)] = areas(masks, video.size)
    return result


def _whole_frame(size: Size) -> Counts:
    return coco.frPyObjects({"size": size, "counts": [0, size[0] * size[1]]}, *size)["counts"]


def _mean_visible(pixels: np.ndarray) -> np.ndarray:
    """(N,) mean of the non-zero entries of each column of (T, N)."""
    return pixels.sum(0) / np.maximum((pixels > 0).sum(0), 1)
