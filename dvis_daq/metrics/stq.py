"""Segmentation and tracking quality (Weber et al. 2021): STQ = sqrt(AQ x SQ).

* SQ: IoU of each class over all labelled pixels of all videos, mean over the classes with a
  pixel; predicted void on labelled ground truth makes one more class, of IoU 0.
* AQ: for each true thing track g, the sum over predicted thing tracks p of
  TPA(p, g) x IoU(p, g) / |g|, mean over all tracks. The classes of p and g need not agree.

A track is a segment under one class; a segment whose class flips is two. `as_released` follows
the script of VIPSeg, which numbers the segments of a video from 0 and whose core takes number 0
of a thing class for crowd: that object is lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from dvis_daq.metrics.segment_counts import SegmentCounts


@dataclass(frozen=True)
class VideoTracks:
    """What one video adds.

    Attributes:
        confusion: (K, K + 1) labelled pixels by true and predicted class, void last.
        association: sum over the true thing tracks of their term in AQ.
        tracks: their number.
    """

    confusion: np.ndarray
    association: float
    tracks: int


def video_tracks(
    counts: SegmentCounts, things: np.ndarray, *, as_released: bool = False
) -> VideoTracks:
    """Sums up one video.

    Args:
        things: (K,) bool.
        as_released: the object of the first listed segment counts as crowd.
    """
    classes = len(things)
    frame, row, column = np.nonzero(counts.shared)
    pixels = counts.shared[frame, row, column]
    ours = _classes(counts.predicted.classes, frame, row, void=classes)
    theirs = _classes(counts.actual.classes, frame, column, void=classes)
    labelled = theirs < classes
    keys = theirs[labelled] * (classes + 1) + ours[labelled]
    confusion = np.bincount(keys, pixels[labelled], classes * (classes + 1))
    is_thing = np.append(things, False)
    crowd = (column == 1) & is_thing[theirs] & as_released  # column 0 is void
    track_p = np.where(is_thing[ours] & ~crowd, row * classes + ours, -1)
    track_g = np.where(is_thing[theirs] & ~crowd, column * classes + theirs, -1)
    association, tracks = _association(track_p, track_g, pixels)
    return VideoTracks(confusion.reshape(classes, classes + 1), association, tracks)


def _classes(table: np.ndarray, frame: np.ndarray, segment: np.ndarray, *, void: int) -> np.ndarray:
    """(N,) class of segment number `segment`, from 1, in `frame`; `void` for number 0."""
    padded = np.pad(table, ((0, 0), (1, 0)), constant_values=void)
    return padded[frame, segment]


def _association(ours: np.ndarray, theirs: np.ndarray, pixels: np.ndarray) -> tuple[float, int]:
    """The sum over true tracks, and their number; key -1 is no track."""
    found, ours = np.unique(ours, return_inverse=True)
    actual, theirs = np.unique(theirs, return_inverse=True)
    shared = np.zeros((len(found), len(actual)))
    np.add.at(shared, (ours, theirs), pixels)
    size_p, size_g = shared.sum(1)[found >= 0], shared.sum(0)[actual >= 0]
    shared = shared[found >= 0][:, actual >= 0]
    iou = shared / (size_p[:, None] + size_g - shared)
    return float(((shared * iou).sum(0) / size_g).sum()), len(size_g)


def figures(videos: Iterable[VideoTracks]) -> dict[str, float | None]:
    """STQ, AQ and SQ of some videos, fractions; None where nothing is defined."""
    videos = list(videos)
    tracks = sum(video.tracks for video in videos)
    aq = sum(video.association for video in videos) / tracks if tracks else None
    sq = _segmentation(np.sum([video.confusion for video in videos], axis=0)) if videos else None
    stq = None if aq is None or sq is None else float(np.sqrt(aq * sq))
    return {"STQ": stq, "AQ": aq, "SQ": sq}


def _segmentation(confusion: np.ndarray) -> float | None:
    """Mean IoU over the classes, and over void if it is predicted."""
    shared = np.append(np.diagonal(confusion), 0.0)
    union = np.append(confusion.sum(1), 0.0) + confusion.sum(0) - shared
    defined = union > 0
    return float((shared[defined] / union[defined]).mean()) if defined.any() else None
