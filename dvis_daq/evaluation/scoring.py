"""From ground truth and results of video instance segmentation to all figures."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from dvis_daq.evaluation.emergence import EventScores
from dvis_daq.metrics.events import event_slices
from dvis_daq.metrics.explain import Trace, explain, read_trace
from dvis_daq.metrics.matching import MAX_PREDICTIONS, Matches, Slice, match
from dvis_daq.metrics.overlap import Overlap, overlaps
from dvis_daq.metrics.reading import read_ground_truth, read_results
from dvis_daq.metrics.tracks import GroundTruth, PredictedTrack
from dvis_daq.metrics.video_ap import (
    Figures,
    accumulate,
    area_slices,
    figures,
    occlusion_slices,
    per_class,
)

logger = logging.getLogger(__name__)

AREA_TOLERANCE = 0.05  # relative difference between an area of the json and of the masks


def score_files(
    truth_file: str | Path,
    results_file: str | Path,
    *,
    videos: Collection[int] | None = None,
    long_videos: Collection[int] | None = None,
    events: bool = False,
    trace_file: str | Path | None = None,
    workers: int = 1,
) -> dict[str, Any]:
    """Scores a results.json.

    Args:
        truth_file, results_file: YouTube-VIS or OVIS json, and what a model wrote for it.
        videos: score only the videos with these ids.
        long_videos, events: see `score`.
        trace_file: the model's trace, to tell why it missed emergences (implies `events`).
        workers: processes that compare masks.

    Raises:
        ValueError: a file cannot be scored; names file, entry and remedy.
    """
    truth = read_ground_truth(truth_file)
    predictions = read_results(results_file, truth)
    if videos is not None:
        truth = truth.restrict(videos)
    trace = None if trace_file is None else read_trace(trace_file)
    options: dict[str, Any] = {"long_videos": long_videos, "events": events, "workers": workers}
    return score(truth, predictions, trace=trace, **options)


def score(
    truth: GroundTruth,
    predictions: Sequence[PredictedTrack],
    *,
    long_videos: Collection[int] | None = None,
    events: bool = False,
    trace: Trace | None = None,
    workers: int = 1,
) -> dict[str, Any]:
    """All figures by name, fractions, None where undefined.

    Args:
        truth: ground truth; predictions of other videos are left out.
        predictions: in file order.
        long_videos: ids of one of two parts; adds "long", "short" and their mean "AP_split",
            the rule of YouTube-VIS 2022.
        events: add "events", see `evaluation.emergence`.
        trace: of the model, see `metrics.explain`; adds "missed_emergences".
        workers: processes that compare masks.

    Returns:
        AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl, with the levels of
        occlusion AP_light ... AR_heavy; "per_class" by category id; "counts"; what was asked.
    """
    events = events or trace is not None
    slices = area_slices() | (occlusion_slices() if truth.has_occlusion else {})
    standard = list(slices)
    slices |= event_slices() if events else {}
    names, categories = list(slices), list(truth.categories)
    matches, seen = _match_all(truth, predictions, tuple(slices.values()), events, workers)
    curves = accumulate(matches, names=names, categories=categories).select(standard)
    result: dict[str, Any] = dict(figures(curves))
    result["per_class"] = {
        str(category): {"name": truth.categories[category], **row}
        for category, row in per_class(curves).items()
    }
    result["counts"] = _counts(truth, predictions)
    if long_videos is not None:
        result |= _split(truth, matches, names, set(long_videos))
    if seen is not None:
        result["events"] = seen.figures(matches, names=names, categories=categories)
        if trace is not None:
            result["missed_emergences"] = explain(seen.presence.missed, truth, trace)
    return result


def _match_all(
    truth: GroundTruth,
    predictions: Sequence[PredictedTrack],
    slices: tuple[Slice, ...],
    events: bool,
    workers: int,
) -> tuple[list[Matches], EventScores | None]:
    """One pass over all videos; the masks' overlaps are kept for one video at a time."""
    matches: list[Matches] = []
    odd: list[int] = []
    seen = EventScores() if events else None
    limit = None if events else MAX_PREDICTIONS
    for overlap in overlaps(truth, predictions, limit=limit, workers=workers):
        matches.append(match(overlap, slices))
        odd += _odd_areas(overlap)
        if seen is not None:
            seen.add(overlap)
    if odd:
        logger.warning(
            "%s: the areas of %d of %d annotations are more than %d %% off those of their masks "
            "(first: id %d). The size ranges go by the json; correct its areas or remove them.",
            *(truth.source, len(odd), len(truth.tracks), 100 * AREA_TOLERANCE, odd[0]),
        )
    return matches, seen


def _odd_areas(overlap: Overlap) -> list[int]:
    """Ids of the objects whose given area does not fit their masks."""
    drawn = overlap.actual_area()
    return [
        item.id
        for item, area in zip(overlap.objects, drawn, strict=True)
        if item.area is not None and abs(item.area - area) > AREA_TOLERANCE * area
    ]


def _split(
    truth: GroundTruth, matches: Sequence[Matches], names: list[str], long_videos: set[int]
) -> dict[str, Any]:
    """Two separate evaluations and the mean of their APs."""
    truth.restrict(long_videos)  # names unknown ids
    parts: dict[str, Figures] = {}
    for part, ids in (("long", long_videos), ("short", truth.videos.keys() - long_videos)):
        curves = accumulate(matches, names=names, categories=truth.categories, videos=ids)
        parts[part] = figures(curves.select(area_slices()))
    both = [row["AP"] for row in parts.values() if row["AP"] is not None]
    return {**parts, "AP_split": sum(both) / 2 if len(both) == 2 else None}


def _counts(truth: GroundTruth, predictions: Sequence[PredictedTrack]) -> dict[str, int]:
    return {
        "videos": len(truth.videos),
        "objects": sum(not track.crowd for track in truth.tracks),
        "crowd": sum(track.crowd for track in truth.tracks),
        "predictions": sum(one.video_id in truth.videos for one in predictions),
    }
