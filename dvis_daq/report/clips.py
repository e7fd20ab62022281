"""A clip of the report as plain data: pictures, tracks and, where known, the truth."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dvis_daq.metrics.explain import Trace
from dvis_daq.metrics.masks import Size, as_rles
from dvis_daq.metrics.tracks import GroundTruth, PredictedTrack
from dvis_daq.report.diagnosis import Finding, diagnose, unmatched
from dvis_daq.report.json_text import as_json
from dvis_daq.report.life import events, stretches
from dvis_daq.report.pictures import MASK_SIDE, encode_frames, fitted, shrink_masks
from dvis_daq.tracks import Track, VideoTracks
from dvis_daq.visualization import colour_of

DEFAULT_FPS = 10.0  # of a folder of images


@dataclass(frozen=True)
class ClipView:
    """What a report shows of one video.

    Attributes:
        content: tracks and facts of the video.
        frames: its frames, (H, W, 3) uint8 RGB or None for one that cannot be read; iterated
            over several times.
        truth: ground truth of this video alone.
        trace: of the run that made the tracks.
    """

    content: VideoTracks
    frames: Iterable[np.ndarray | None]
    truth: GroundTruth | None = None
    trace: Trace | None = None


def clip_data(view: ClipView, *, budget: int) -> dict[str, Any]:
    """The clip as json holds it; tracks and pictures take at most `budget` bytes.

    Raises:
        ValueError: the tracks alone are too large, or truth and video do not fit together.
    """
    video = view.content.video
    tracks = [_track(track, video.frames) for track in view.content.tracks]
    found = None if view.truth is None else _truth(view, view.truth)
    spent = len(as_json([tracks, found]))
    if spent >= budget:
        raise ValueError(
            f"{video.name}: the tracks alone take {spent / 1e6:.1f} MB; allow a larger report, "
            "or take fewer tracks or fewer frames"
        )
    # base64 makes four bytes of three
    pictures = encode_frames(view.frames, budget=(budget - spent) * 3 // 4)
    if len(pictures.jpegs) != video.frames:
        raise ValueError(
            f"{video.name}: {len(pictures.jpegs)} frames were read, the tracks have "
            f"{video.frames}; name the video that they were made from"
        )
    height, width = fitted(video.height, video.width, MASK_SIDE)
    return {
        "name": video.name,
        "height": video.height,
        "width": video.width,
        "maskHeight": height,
        "maskWidth": width,
        "fps": video.fps or DEFAULT_FPS,
        "frames": video.frames,
        "cuts": list(view.content.cuts),
        "skipped": [{"frame": one.frame, "reason": one.reason} for one in view.content.skipped],
        "pictures": [None if j is None else base64.b64encode(j).decode() for j in pictures.jpegs],
        "tracks": tracks,
        "truth": found,
    }


def predictions_of(content: VideoTracks, truth: GroundTruth) -> list[PredictedTrack]:
    """Tracks as the metrics take them; `index` is the place in `content.tracks`.

    Tracks of a class that the ground truth does not have are left out.

    Raises:
        ValueError: number or size of the frames differ.
    """
    (video,) = truth.videos.values()
    found = content.video
    if (found.frames, found.height, found.width) != (video.length, video.height, video.width):
        raise ValueError(
            f"{truth.source}: video {video.id} has {video.length} frames of {video.height} x "
            f"{video.width}, the tracks {found.frames} of {found.height} x {found.width}; "
            "choose the video that they were made from"
        )
    categories = {name: number for number, name in truth.categories.items()}
    return [
        PredictedTrack(
            index=n,
            video_id=video.id,
            category_id=categories[track.name],
            score=track.score,
            masks=_counts(track, video.length),
        )
        for n, track in enumerate(content.tracks)
        if track.name in categories
    ]


def _counts(track: Track, length: int) -> tuple[str | None, ...]:
    masks = [track.mask(t) for t in range(length)]
    return tuple(None if mask is None else mask["counts"] for mask in masks)


def _track(track: Track, frames: int) -> dict[str, Any]:
    return {
        "id": track.id,
        "name": track.name,
        "score": round(track.score, 4),
        "colour": "#{:02x}{:02x}{:02x}".format(*colour_of(track.id)),
        "born": track.born,
        "spans": stretches(track),
        "events": events(track, frames),
        "scores": [round(score, 3) for score in track.scores],
        "masks": shrink_masks(track.masks),
    }


def _truth(view: ClipView, truth: GroundTruth) -> dict[str, Any]:
    predictions = predictions_of(view.content, truth)
    findings = diagnose(truth, predictions, view.trace)
    ids = [track.id for track in view.content.tracks]
    (video,) = truth.videos.values()
    unknown = [n for n, t in enumerate(view.content.tracks)
               if t.name not in truth.categories.values()]  # fmt: skip
    return {
        "video": video.id,
        "objects": [_object(one, ids, truth.categories, video.size) for one in findings],
        "unmatched": [ids[n] for n in sorted({*unmatched(findings, predictions), *unknown})],
    }


def _object(
    one: Finding, ids: Sequence[int], categories: Mapping[int, str], size: Size
) -> dict[str, Any]:
    masks = [None if counts is None else as_rles([counts], size)[0] for counts in one.item.masks]
    return {
        "id": one.item.id,
        "name": categories[one.item.category_id],
        "runs": one.runs,
        "track": None if one.prediction is None else ids[one.prediction],
        "iou": round(one.iou, 4),
        "frameIou": [round(value, 2) for value in one.frame_iou],
        "ghosts": one.ghosts,
        "emerging": one.emerging,
        "disappearing": one.disappearing,
        "missed": one.missed,
        "verdict": one.verdict,
        "rule": one.rule,
        "latency": one.latency,
        "left": one.left,
        "reentries": one.reentries,
        "switches": [
            {"frame": s.frame, "before": ids[s.before], "after": ids[s.after]} for s in one.switches
        ],
        "masks": shrink_masks(masks),
    }
