"""Why was an emerging object missed? Reads a trace that the model wrote while it ran.

A trace is a jsonl file with one line a frame:

    {"video_id": 1, "frame": 4,
     "candidates": [{"segmentation": RLE, "score": 0.71}, ...],
     "newcomers": [{"segmentation": RLE, "score": 0.05, "removed_by": "score"}, ...]}

`candidates` are the segmenter's masks of the frame, `newcomers` the rows that the tracker's
anchors gave for objects it did not track yet. `removed_by` names the rule that turned a
newcomer away and is null for one that became a track. Masks have the size of the video; null
stands for an empty one.

For each missed emergence the trace is read in the object's first visible frame and the next.
The verdict names the first step at which a mask with an IoU of at least 0.5 is missing:

* "no_candidate": the segmenter has none;
* "not_taken": a candidate has it, but no newcomer: the anchor turned to something else;
* "removed": a newcomer had it and `rule` turned it away;
* "accepted": a newcomer became a track, which the results lose: another class, a score below
  0.3, or not among those reported.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco

from dvis_daq.metrics.masks import as_rles, to_counts
from dvis_daq.metrics.presence import SLACK, MissedEmergence
from dvis_daq.metrics.tracks import GroundTruth, ObjectTrack

Trace = dict[tuple[int, int], dict[str, Any]]  # (video id, frame) -> line

_MIN_IOU = 0.5


def read_trace(path: str | Path) -> Trace:
    """Reads a trace.

    Raises:
        ValueError: a line is no json object with video_id, frame, candidates and newcomers.
    """
    trace: Trace = {}
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                entry = json.loads(line)
                key = entry["video_id"], entry["frame"]
                entry["candidates"], entry["newcomers"]  # noqa: B018  both must be there
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{path}, line {number}: a trace has one json object a line with video_id, "
                    f"frame, candidates and newcomers ({type(error).__name__}: {error})"
                ) from None
            trace[key] = entry
    return trace


def explain(
    missed: Sequence[MissedEmergence], truth: GroundTruth, trace: Trace
) -> list[dict[str, Any]]:
    """A verdict for each missed emergence.

    Returns:
        For each: video_id, object_id, category_id, frame (the first visible one), verdict, and
        rule (None unless removed).

    Raises:
        ValueError: the trace lacks a frame in question.
    """
    objects = {item.id: item for item in truth.tracks}
    return [
        vars(event) | _verdict(event, objects[event.object_id], truth, trace) for event in missed
    ]


def _verdict(
    event: MissedEmergence, item: ObjectTrack, truth: GroundTruth, trace: Trace
) -> dict[str, str | None]:
    video = truth.videos[event.video_id]
    candidates, newcomers = [], []
    for frame in range(event.frame, min(event.frame + SLACK + 1, video.length)):
        entry = trace.get((event.video_id, frame))
        if entry is None:
            raise ValueError(
                f"the trace has no frame {frame} of video {event.video_id}; "
                "write it in the run that made the results"
            )
        candidates += _reaching(entry["candidates"], item, frame, video.size)
        newcomers += _reaching(entry["newcomers"], item, frame, video.size)
    if newcomers:
        _, best = max(newcomers, key=lambda pair: (pair[1]["removed_by"] is None, pair[0]))
        rule = best["removed_by"]
        return {"verdict": "accepted" if rule is None else "removed", "rule": rule}
    return {"verdict": "not_taken" if candidates else "no_candidate", "rule": None}


def _reaching(
    rows: list[dict[str, Any]], item: ObjectTrack, frame: int, size: tuple[int, int]
) -> list[tuple[float, dict[str, Any]]]:
    """(IoU, row) of the rows whose mask has enough of the object."""
    mask = item.masks[frame]
    filled = [row for row in rows if row["segmentation"] is not None]
    if mask is None or not filled:
        return []
    masks: list[Any] = [to_counts(row["segmentation"], size) for row in filled]
    iou = np.asarray(coco.iou(as_rles(masks, size), as_rles([mask], size), [0]))[:, 0]
    return [(float(q), row) for q, row in zip(iou, filled, strict=True) if q >= _MIN_IOU]
