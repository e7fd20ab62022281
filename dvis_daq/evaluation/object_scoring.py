"""From ground truth and results of video object segmentation to all figures."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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
from dvis_daq.metrics.region_boundary import ObjectScores, figures, object_scores
from dvis_daq.metrics.semantic import pairs

Job = tuple[str, dict[str, Path], dict[str, Path]]  # video, predicted and true files by frame
VOID = 255  # neither an object nor the background


def score_object_files(
    split_file: str | Path | None,
    *,
    truth_root: str | Path,
    results_root: str | Path,
    videos: Collection[str] | None = None,
    workers: int = 1,
) -> dict[str, Any]:
    """Scores palette PNGs.

    Args:
        split_file: names of the videos, see `read_video_names`; None takes every folder.
        truth_root, results_root: folders with <video>/<frame>.png of object numbers.
        videos: score only these.
        workers: processes, each with videos of its own.

    Raises:
        ValueError: a file cannot be scored; names file and remedy.
    """
    names = folders(truth_root) if split_file is None else read_video_names(split_file)
    truth = find_images(truth_root, names)
    if videos is not None:
        truth = restricted(truth, videos, str(split_file or truth_root))
    check_labelled(truth, str(truth_root))
    jobs = object_jobs(truth, predictions_for(truth, results_root))
    scores = each_video(score_object_video, jobs, workers=workers)
    return object_figures(dict(zip(truth, scores, strict=True)))


def folders(root: str | Path) -> list[str]:
    """Names of the videos in a folder.

    Raises:
        ValueError: there are none.
    """
    names = sorted(path.name for path in Path(root).glob("*") if path.is_dir())
    if not names:
        raise ValueError(f"{root} has no folder of a video")
    return names


def is_labelled(truth: Images) -> bool:
    """Whether more than the first frames have masks, as in a validation split they do not."""
    return any(len(frames) > 1 for frames in truth.values())


def check_labelled(truth: Images, source: str) -> None:
    """Raises ValueError where only the given objects are known."""
    if not is_labelled(truth):
        raise ValueError(
            f"{source} has masks of first frames only, so nothing can be scored against it; "
            "submit the results to the server of the data set or use a labelled split"
        )


def object_jobs(truth: Images, found: Images) -> list[Job]:
    return [(video, found[video], frames) for video, frames in truth.items()]


def score_object_video(job: Job) -> ObjectScores:
    """Reads the PNGs of a video; scored are the objects of its first frame."""
    video, predicted, actual = job
    numbers = object_numbers(read_labels(next(iter(actual.values()))))
    images = (read_labels(predicted[name]) for name in actual)
    try:
        return object_scores(pairs(images, map(read_labels, actual.values())), numbers)
    except ValueError as error:
        raise ValueError(f"video '{video}': {error}") from None


def object_numbers(labels: np.ndarray) -> list[int]:
    """Objects in a label image, ascending."""
    return [number for number in np.unique(labels).tolist() if number not in (0, VOID)]


def object_figures(scores: Mapping[str, ObjectScores]) -> dict[str, Any]:
    """Those of `metrics.region_boundary.figures`, fractions.

    Returns:
        Also "all_frames", the figures with the first and the last frame; "per_video" with J&F, J
        and F; "counts".
    """
    ordered = {video: scores[video] for video in sorted(scores)}
    result: dict[str, Any] = dict(figures(ordered.values()))
    result["all_frames"] = figures(ordered.values(), all_frames=True)
    result["per_video"] = {video: _main(figures([score])) for video, score in ordered.items()}
    result["counts"] = {
        "videos": len(ordered),
        "objects": sum(len(score.numbers) for score in ordered.values()),
        "frames": sum(len(score.region) for score in ordered.values()),
    }
    return result


def _main(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in ("J&F", "J", "F")}
