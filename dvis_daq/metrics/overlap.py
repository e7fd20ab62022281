"""Predicted and true tracks of one category in one video, and the pixels that they share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

import numpy as np

from dvis_daq.metrics.pixel_counts import Group, count_many
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
        shared: (T, P, G) int64 pixels that both have.
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
    truth: GroundTruth,
    predictions: Sequence[PredictedTrack],
    *,
    limit: int | None = None,
    workers: int = 1,
) -> Iterator[Overlap]:
    """Yields every video and category that has an object or a prediction, videos in rising id.

    Args:
        truth: ground truth; predictions of videos that it does not have are left out.
        predictions: in file order.
        limit: keep so many of the best predictions of each video and category.
        workers: processes that count pixels, see `pixel_counts.count_many`.
    """
    found, objects = _group(predictions), _group(truth.tracks)
    keys = [
        key for key in product(truth.videos, truth.categories) if key in found or key in objects
    ]
    ranked = [sorted(found[key], key=lambda p: -p.score)[:limit] for key in keys]
    groups = [
        _masks(truth.videos[key[0]], best, objects[key])
        for key, best in zip(keys, ranked, strict=True)
    ]
    counts = count_many(groups, workers=workers)
    for key, best, pixels in zip(keys, ranked, counts, strict=True):
        video, category = truth.videos[key[0]], key[1]
        yield Overlap(video, category, tuple(best), tuple(objects[key]), *pixels)


def _group(tracks: Sequence[Track]) -> dict[tuple[int, int], list[Track]]:
    """By video and category; empty where there is none."""
    groups: dict[tuple[int, int], list[Track]] = defaultdict(list)
    for track in tracks:
        groups[track.video_id, track.category_id].append(track)
    return groups


def _masks(
    video: Video, predictions: Sequence[PredictedTrack], objects: Sequence[ObjectTrack]
) -> Group:
    shape = video.length, video.height, video.width
    return shape, [track.masks for track in predictions], [track.masks for track in objects]


def _mean_visible(pixels: np.ndarray) -> np.ndarray:
    """(N,) mean of the non-zero entries of each column of (T, N)."""
    return pixels.sum(0) / np.maximum((pixels > 0).sum(0), 1)
