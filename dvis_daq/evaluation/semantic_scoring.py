"""From ground truth and results of video semantic segmentation to all figures."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dvis_daq.evaluation.per_video import each_video
from dvis_daq.metrics.label_folders import (
    Images,
    find_images,
    predictions_for,
    read_video_names,
    restricted,
)
from dvis_daq.metrics.label_images import read_labels
from dvis_daq.metrics.semantic import (
    VideoLabels,
    class_iou,
    confusion,
    figures,
    pairs,
    video_labels,
)

Job = tuple[str, dict[str, Path], dict[str, Path]]  # video, predicted and true files by frame

NUM_CLASSES = 124  # of VSPW
MASK_FOLDER = "mask"  # of a video


def score_semantic_files(
    split_file: str | Path,
    *,
    truth_root: str | Path,
    results_root: str | Path,
    videos: Collection[str] | None = None,
    classes: int = NUM_CLASSES,
    names: Mapping[int, str] | None = None,
    workers: int = 1,
) -> dict[str, Any]:
    """Scores label images.

    Args:
        split_file: names of the videos, see `read_video_names`.
        truth_root: folder with <video>/mask/<frame>.png, class + 1, 0 unlabelled, 255 ignored.
        results_root: folder with <video>/<frame>.png, class indices from 0.
        videos: score only these.
        classes: K.
        names: of the classes, by id.
        workers: processes, each with videos of its own.

    Raises:
        ValueError: a file cannot be scored; names file and remedy.
    """
    truth = truth_images(split_file, truth_root)
    if videos is not None:
        truth = restricted(truth, videos, str(split_file))
    found = predictions_for(truth, results_root)
    score = partial(score_semantic_video, classes=classes)
    scores = each_video(score, semantic_jobs(truth, found), workers=workers)
    return semantic_figures(dict(zip(truth, scores, strict=True)), names=names)


def truth_images(split_file: str | Path, root: str | Path) -> Images:
    """The masks of a split.

    Raises:
        ValueError: a video has none, as those of a test split.
    """
    return find_images(root, read_video_names(split_file), MASK_FOLDER)


def semantic_jobs(truth: Images, found: Images) -> list[Job]:
    return [(video, found[video], frames) for video, frames in truth.items()]


def score_semantic_video(job: Job, classes: int) -> VideoLabels:
    """Reads the PNGs of a video and sums up."""
    video, predicted, actual = job
    images = (read_labels(predicted[name]) for name in actual)
    try:
        return video_labels(pairs(images, map(read_labels, actual.values())), classes)
    except ValueError as error:
        raise ValueError(f"video '{video}': {error}") from None


def semantic_figures(
    scores: Mapping[str, VideoLabels], *, names: Mapping[int, str] | None = None
) -> dict[str, Any]:
    """Those of `metrics.semantic.figures`, "per_class" with IoU, and "counts"."""
    ordered = [scores[video] for video in sorted(scores)]
    result: dict[str, Any] = dict(figures(ordered))
    iou = class_iou(ordered)
    result["per_class"] = {
        str(k): {"name": (names or {}).get(k, str(k)), "IoU": float(iou[k])}
        for k in np.flatnonzero(~np.isnan(iou)).tolist()
    }
    pixels = int(confusion(ordered).sum())
    result["counts"] = {"videos": len(ordered), "labelled pixels": pixels}
    return result
