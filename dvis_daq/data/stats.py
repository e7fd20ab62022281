"""Figures of a data set: sizes, lengths, classes, areas, and how objects come and go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from dvis_daq.data.annotations import Record
from dvis_daq.data.classes import Categories

SMALL, MEDIUM = 128**2, 256**2  # pixels: the bounds of the YouTube-VIS evaluator
EVENTS = ("emerge", "disappear", "reappear")


def events(visible: np.ndarray) -> np.ndarray:
    """Which objects come and go within a video.

    An object emerges if it is first seen after frame 0, disappears if it is last seen before the
    last frame, and reappears if it is away in between.

    Args:
        visible: (G, T) bool; every object is seen at least once.

    Returns:
        (G, 3) bool: emerge, disappear, reappear.
    """
    length = visible.shape[1]
    first = visible.argmax(1)
    last = length - 1 - visible[:, ::-1].argmax(1)
    return np.stack([first > 0, last < length - 1, visible.sum(1) < last - first + 1], axis=1)


def statistics(records: Sequence[Record], categories: Categories) -> dict[str, Any]:
    """Counts over a data set; objects that are never visible are left out.

    Args:
        records: from `read_instances`.
        categories: of the same file.
    """
    per_video = [_video(record) for record in records]
    labels = np.concatenate([video["labels"] for video in per_video])
    happened = np.concatenate([video["events"] for video in per_video])
    spans = np.concatenate([video["spans"] for video in per_video])
    areas = np.concatenate([video["areas"] for video in per_video])
    tracks = [len(video["labels"]) for video in per_video]
    lengths = [record["length"] for record in records]
    return {
        "videos": len(records),
        "frames": int(sum(lengths)),
        "tracks": len(labels),
        "masks": len(areas),
        "frame_sizes": dict(
            Counter(f"{record['height']}x{record['width']}" for record in records).most_common()
        ),
        "video_length": _summary(lengths),
        "tracks_per_video": _summary(tracks),
        "frames_per_track": _summary(spans),
        "mask_area": _summary(areas),
        "mask_area_ranges": {
            "small": int((areas < SMALL).sum()),
            "medium": int(((areas >= SMALL) & (areas < MEDIUM)).sum()),
            "large": int((areas >= MEDIUM).sum()),
        },
        "events": _events(happened),
        "classes": {
            name: {"tracks": int((labels == k).sum()), **_events(happened[labels == k])}
            for k, name in enumerate(categories.names)
        },
    }


def _video(record: Record) -> dict[str, np.ndarray]:
    """Of the objects of one video: class, events, frames visible; and the area of each mask."""
    tracks = record["targets"]
    rows = tracks.visible.any(1)
    visible = tracks.visible[rows]
    return {
        "labels": tracks.labels[rows],
        "events": events(visible),
        "spans": visible.sum(1),
        "areas": tracks.areas[tracks.visible],
    }


def _events(happened: np.ndarray) -> dict[str, int]:
    """Number of objects per kind of event, and of those with any."""
    counts = {name: int(happened[:, i].sum()) for i, name in enumerate(EVENTS)}
    return {**counts, "any": int(happened.any(1).sum())}


def _summary(values: Sequence[int] | np.ndarray) -> dict[str, float]:
    if len(values) == 0:
        return {"min": 0, "median": 0, "mean": 0, "max": 0}
    functions = {"min": np.min, "median": np.median, "mean": np.mean, "max": np.max}
    return {name: round(float(f(values)), 2) for name, f in functions.items()}
