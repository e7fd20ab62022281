"""Video semantic segmentation: IoU of classes and video consistency (VC, Miao et al. 2021).

As the public scripts of VSPW count. VC_n looks at every run of n frames: of the pixels whose
true label does not change in the run (void included), the share whose predicted label does not
change either. It measures constancy alone; a constant wrong label scores 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from dvis_daq.metrics.label_images import count_pairs

UNLABELLED, IGNORED = 0, 255  # values of a ground-truth mask; class k is k + 1
CLIPS = (8, 16)  # frames of a run

Pair = tuple[np.ndarray, np.ndarray]  # predicted classes and true mask values, (H, W) uint8 each


@dataclass(frozen=True)
class VideoLabels:
    """What one video adds.

    Attributes:
        confusion: (K, K) labelled pixels by true and predicted class, int64.
        consistency: by n, the share of every run of n frames in the order of time, NaN where
            no pixel's true label is constant; the last one is that of the last n frames.
    """

    confusion: np.ndarray
    consistency: dict[int, np.ndarray]


def video_labels(frames: Iterable[Pair], classes: int) -> VideoLabels:
    """Sums up one video, frame by frame; memory does not grow with its length.

    Args:
        frames: of one size.
        classes: K, at most 254.

    Raises:
        ValueError: a true label beyond K, or a predicted one on a labelled pixel.
    """
    counts = np.zeros((classes, classes), np.int64)
    constant = _Constancy()
    for predicted, actual in frames:
        ours, theirs, pixels = count_pairs(predicted, actual)
        _check(ours, theirs, classes)
        labelled = (theirs != UNLABELLED) & (theirs != IGNORED)
        rows, columns = theirs[labelled].astype(int) - 1, ours[labelled].astype(int)
        np.add.at(counts, (rows, columns), pixels[labelled])
        constant.add(predicted, actual)
    return VideoLabels(counts, {n: np.array(constant.shares[n]) for n in CLIPS})


def _check(ours: np.ndarray, theirs: np.ndarray, classes: int) -> None:
    odd = (theirs > classes) & (theirs != IGNORED)
    if odd.any():
        raise ValueError(
            f"the ground truth has the value {theirs[odd][0]}; it holds class + 1, so at most "
            f"{classes} for {classes} classes, 0 unlabelled and 255 ignored"
        )
    beyond = (theirs != UNLABELLED) & (theirs != IGNORED) & (ours >= classes)
    if beyond.any():
        raise ValueError(
            f"the value {ours[beyond][0]} is predicted on labelled pixels; write class indices "
            f"0 to {classes - 1} (not + 1), and a class everywhere"
        )


class _Constancy:
    """For how many frames each pixel's labels have been what they are."""

    def __init__(self) -> None:
        self.shares: dict[int, list[float]] = {n: [] for n in CLIPS}
        self._last: Pair | None = None
        self._runs: list[np.ndarray] = []
        self._frames = 0

    def add(self, *pair: np.ndarray) -> None:
        if self._last is None:
            self._runs = [np.zeros(labels.shape, np.uint8) for labels in pair]
        else:
            for run, labels, before in zip(self._runs, pair, self._last, strict=True):
                np.minimum(run, max(CLIPS) - 2, out=run)  # as long as anyone asks
                run += 1
                run *= labels == before
        self._last = pair[0], pair[1]
        self._frames += 1
        ours, theirs = self._runs
        for n, shares in self.shares.items():
            if self._frames >= n:
                still = theirs >= n - 1
                count = np.count_nonzero(still)
                both = np.count_nonzero(still & (ours >= n - 1))
                shares.append(both / count if count else np.nan)


def figures(videos: Iterable[VideoLabels]) -> dict[str, float | None]:
    """Figures by name, fractions; None where nothing is defined.

    Args:
        videos: at least one.

    Returns:
        mIoU over the classes of the ground truth, fwIoU weighted by their pixels, Acc of all
        pixels, Acc_class the mean over classes; VC8 and VC16 without the last run of each video,
        as released; the same "_including_last_clip"; "VC16_as_released", the mean over the runs
        of 8 and of 16 frames together that the released script prints as VC16.
    """
    videos = list(videos)
    result = _classes(confusion(videos))
    without = {n: _runs(videos, n, slice(0, -1)) for n in CLIPS}
    result |= {f"VC{n}": _mean(shares) for n, shares in without.items()}
    result["VC16_as_released"] = _mean(np.concatenate(list(without.values())))
    for n in CLIPS:
        result[f"VC{n}_including_last_clip"] = _mean(_runs(videos, n, slice(None)))
    return result


def class_iou(videos: Iterable[VideoLabels]) -> np.ndarray:
    """(K,) IoU, NaN for classes that the ground truth does not have."""
    return _iou(confusion(videos))


def confusion(videos: Iterable[VideoLabels]) -> np.ndarray:
    """(K, K) of all of them, at least one."""
    return np.sum([video.confusion for video in videos], axis=0)


def _classes(counts: np.ndarray) -> dict[str, float | None]:
    actual, total = counts.sum(1), counts.sum()
    names = ("mIoU", "fwIoU", "Acc", "Acc_class")
    if not total:
        return dict.fromkeys(names)
    there, shared = actual > 0, np.diagonal(counts)
    iou = _iou(counts)[there]
    accuracy = (shared[there] / actual[there]).mean()
    values = iou.mean(), (iou * actual[there]).sum() / total, shared.sum() / total, accuracy
    return dict(zip(names, map(float, values), strict=True))


def _iou(counts: np.ndarray) -> np.ndarray:
    actual, shared = counts.sum(1), np.diagonal(counts)
    union = actual + counts.sum(0) - shared
    return np.divide(shared, union, out=np.full(len(actual), np.nan), where=actual > 0)


def _runs(videos: list[VideoLabels], n: int, which: slice) -> np.ndarray:
    return np.concatenate([np.zeros(0), *(video.consistency[n][which] for video in videos)])


def _mean(shares: np.ndarray) -> float | None:
    """Mean over the runs in which some pixel's true label is constant."""
    defined = shares[~np.isnan(shares)]
    return float(defined.mean()) if defined.size else None


def pairs(images: Iterable[np.ndarray], masks: Iterable[np.ndarray]) -> Iterator[Pair]:
    """Predicted and true frames side by side, of one size.

    Raises:
        ValueError: the sizes differ.
    """
    for predicted, actual in zip(images, masks, strict=True):
        if predicted.shape != actual.shape:
            raise ValueError(
                f"the prediction is {predicted.shape}, the ground truth {actual.shape} "
                "(height, width); write results at the original size"
            )
        yield predicted, actual
