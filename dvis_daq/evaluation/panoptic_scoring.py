"""From ground truth and results of video panoptic segmentation to all figures."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dvis_daq.evaluation.emergence import SHARES
from dvis_daq.evaluation.per_video import each_video
from dvis_daq.metrics import stq
from dvis_daq.metrics.panoptic import Category, Frames, PanopticTruth
from dvis_daq.metrics.panoptic_reading import read_panoptic_results, read_panoptic_truth
from dvis_daq.metrics.segment_counts import class_indices, count_segments
from dvis_daq.metrics.vpq import (
    PAPER_WINDOWS,
    WINDOWS,
    ClassSums,
    ed_segments,
    ed_sums,
    mean_over,
    total,
    window_sums_by_class,
)

logger = logging.getLogger(__name__)

Job = tuple[str, Frames, Frames]  # video id, predicted and true frames
Categories = Mapping[int, Category]


@dataclass(frozen=True)
class VideoScores:
    """What one video adds to the figures.

    Attributes:
        windows, ed: sums by window size, of VPQ and of VPQ^ed.
        tracks, tracks_as_released: of STQ.
        frames: T.
        things: visible, non-crowd things; `ed_things` of them emerge, disappear or come back.
        odd_areas: true segments whose area in the json is not that of the PNG.
    """

    video: str
    windows: dict[int, ClassSums]
    ed: dict[int, ClassSums]
    tracks: stq.VideoTracks
    tracks_as_released: stq.VideoTracks
    frames: int
    things: int
    ed_things: int
    odd_areas: int


def score_panoptic_files(
    truth_file: str | Path,
    results_file: str | Path,
    *,
    truth_root: str | Path,
    results_root: str | Path,
    videos: Collection[str] | None = None,
    events: bool = False,
    workers: int = 1,
) -> dict[str, Any]:
    """Scores a pred.json with its PNGs.

    Args:
        truth_file, results_file: panoptic jsons.
        truth_root, results_root: folders with <video>/<frame>.png.
        videos: score only the videos with these ids.
        events: add VPQ^ed, see `panoptic_figures`.
        workers: processes, each with videos of its own.

    Raises:
        ValueError: a file cannot be scored; names file, entry and remedy.
    """
    truth = read_panoptic_truth(truth_file, truth_root)
    results = read_panoptic_results(results_file, results_root, truth)
    if videos is not None:
        truth = truth.restrict(videos)
    score = partial(score_video, categories=truth.categories)
    scores = list(each_video(score, jobs(truth, results), workers=workers))
    return panoptic_figures(scores, truth.categories, source=truth.source, events=events)


def jobs(truth: PanopticTruth, results: Mapping[str, Frames]) -> list[Job]:
    """The videos of the ground truth, for `score_video`."""
    return [(video, results[video], frames) for video, frames in truth.videos.items()]


def score_video(job: Job, categories: Categories) -> VideoScores:
    """Reads the PNGs of a video and sums up."""
    counts = count_segments(*job, class_indices(list(categories)))
    things = _things(categories)
    found, every = ed_segments(counts, things)
    areas = counts.shared[:, :, 1:].sum(1)
    return VideoScores(
        video=counts.video,
        windows={k: window_sums_by_class(counts, k, len(things)) for k in WINDOWS},
        ed={k: ed_sums(counts, k, things, found) for k in WINDOWS},
        tracks=stq.video_tracks(counts, things),
        tracks_as_released=stq.video_tracks(counts, things, as_released=True),
        frames=len(counts.shared),
        things=int(every.sum()),
        ed_things=int(found.sum()),
        odd_areas=int((areas != counts.actual.areas).any(0).sum()),
    )


def panoptic_figures(
    scores: Sequence[VideoScores], categories: Categories, *, source: str, events: bool = False
) -> dict[str, Any]:
    """All figures by name, fractions, None where undefined.

    Args:
        scores: of the videos, in any order.
        source: the ground truth, for a warning.
        events: add "events": VPQ^ed in track form, and VPQ of the videos with a share of things
            that emerge, disappear or come back.

    Returns:
        VPQ, VPQ_Th, VPQ_St (windows of 1, 2, 4, 6 frames), the same with "_released" (and of 8);
        STQ, AQ, SQ and the same with "_released"; "windows" with PQ, SQ, RQ and "per_class" of
        each size; "per_class"; "per_video" with STQ, AQ, SQ; "counts".
    """
    scores = sorted(scores, key=lambda score: score.video)
    _warn(scores, source)
    sums = {k: total((score.windows[k] for score in scores), len(categories)) for k in WINDOWS}
    windows = {k: _groups(part, categories) for k, part in sums.items()}
    result: dict[str, Any] = _quality(windows)
    result |= stq.figures(score.tracks for score in scores)
    released = stq.figures(score.tracks_as_released for score in scores)
    result |= {f"{name}_released": value for name, value in released.items()}
    result["windows"] = {str(k): groups for k, groups in windows.items()}
    result["per_class"] = _per_class(windows, categories)
    result["per_video"] = {score.video: stq.figures([score.tracks]) for score in scores}
    result["counts"] = {
        "videos": len(scores),
        "frames": sum(score.frames for score in scores),
        "things": sum(score.things for score in scores),
    }
    if events:
        result["events"] = _events(scores, categories)
    return result


def _things(categories: Categories) -> np.ndarray:
    return np.array([categories[number].isthing for number in sorted(categories)], bool)


def _groups(sums: ClassSums, categories: Categories) -> dict[str, Any]:
    things = _things(categories)
    groups = {"All": things | True, "Things": things, "Stuff": ~things}
    result: dict[str, Any] = {name: sums.mean(chosen) for name, chosen in groups.items()}
    quality = zip(*sums.quality(), strict=True)
    table = zip(sorted(categories), quality, sums.iou, sums.tp, sums.fp, sums.fn, strict=True)
    result["per_class"] = {
        str(number): {
            **dict(zip(("PQ", "SQ", "RQ"), map(float, values), strict=True)),
            "iou": float(iou),
            "tp": int(tp),
            "fp": int(fp),
            "fn": int(fn),
        }
        for number, values, iou, tp, fp, fn in table
        if tp + fp + fn
    }
    return result


def _quality(windows: Mapping[int, Mapping[str, Any]]) -> dict[str, float | None]:
    """VPQ of all, things and stuff: of the paper's windows, of the script's."""
    result = {}
    for ending, sizes in (("", PAPER_WINDOWS), ("_released", WINDOWS)):
        for name, group in (("VPQ", "All"), ("VPQ_Th", "Things"), ("VPQ_St", "Stuff")):
            result[name + ending] = mean_over([windows[k][group]["PQ"] for k in sizes])
    return result


def _per_class(
    windows: Mapping[int, Mapping[str, Any]], categories: Categories
) -> dict[str, dict[str, Any]]:
    rows = {}
    for number, (name, isthing) in sorted(categories.items()):
        parts = [windows[k]["per_class"].get(str(number)) for k in WINDOWS]
        quality = [part and part["PQ"] for part in parts]
        if any(parts):
            means = {"VPQ": mean_over(quality[: len(PAPER_WINDOWS)])}
            means |= {f"PQ{k}": value for k, value in zip(WINDOWS, quality, strict=True)}
            rows[str(number)] = {"name": name, "isthing": isthing, **means}
    return rows


def _events(scores: Sequence[VideoScores], categories: Categories) -> dict[str, Any]:
    """VPQ^ed in both forms; the paper's windows."""
    things, videos = _things(categories), {}
    sums = {k: total((score.ed[k] for score in scores), len(categories)) for k in PAPER_WINDOWS}
    quality = {k: part.mean(things)["PQ"] for k, part in sums.items()}
    for share in SHARES:
        chosen = [s for s in scores if s.things and s.ed_things / s.things >= share]
        videos[str(share)] = {
            "video_ids": [score.video for score in chosen],
            "VPQ": mean_over([_vpq(chosen, k, categories) for k in PAPER_WINDOWS]),
        }
    return {
        "VPQ_ed": mean_over(list(quality.values())),
        "windows": {
            str(k): {
                "PQ_ed": quality[k],
                "per_class": _groups(part, categories)["per_class"],
            }
            for k, part in sums.items()
        },
        "videos": videos,
        "things": sum(score.things for score in scores),
        "ed_things": sum(score.ed_things for score in scores),
    }


def _vpq(scores: Iterable[VideoScores], frames: int, categories: Categories) -> Any:
    sums = total((score.windows[frames] for score in scores), len(categories))
    return sums.mean(np.ones(len(categories), bool))["PQ"]


def _warn(scores: Sequence[VideoScores], source: str) -> None:
    odd = [score for score in scores if score.odd_areas]
    if odd:
        logger.warning(
            "%s: the areas of %d segments are not those of their PNGs (first: video '%s'). VPQ "
            "goes by the json, as the public script does; correct its areas.",
            *(source, sum(score.odd_areas for score in odd), odd[0].video),
        )
