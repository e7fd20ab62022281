"""Panoptic videos on disk from arrays of segment ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CATEGORIES = [
    {"id": 2, "name": "sky", "isthing": 0, "color": [10, 20, 30]},
    {"id": 5, "name": "car", "isthing": 1, "color": [200, 0, 0]},
    {"id": 9, "name": "dog", "isthing": 1, "color": [0, 0, 200]},
]

Segments = list[dict[str, Any]]  # of a frame: id, category_id, perhaps iscrowd


def segments_of(ids: np.ndarray, classes: dict[int, int], crowd: tuple[int, ...] = ()) -> Segments:
    """What a json lists of one frame (H, W), in the order of `classes`."""
    return [
        {"id": n, "category_id": c, "iscrowd": int(n in crowd), "area": int((ids == n).sum())}
        for n, c in classes.items()
        if (ids == n).any()
    ]


def write_png(path: Path, ids: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = [ids & 255, ids >> 8 & 255, ids >> 16 & 255]
    Image.fromarray(np.stack(channels, -1).astype(np.uint8)).save(path)


def write_videos(
    folder: Path, videos: dict[str, np.ndarray], segments: dict[str, list[Segments]], ending: str
) -> list[dict[str, Any]]:
    """PNGs of (T, H, W) ids; returns "annotations" of a json."""
    annotations = []
    for video, frames in videos.items():
        for t, ids in enumerate(frames):
            write_png(folder / video / f"{t:03d}.png", ids)
        listed = [
            {"file_name": f"{t:03d}{ending}", "segments_info": of_frame}
            for t, of_frame in enumerate(segments[video])
        ]
        annotations.append({"video_id": video, "annotations": listed})
    return annotations


def write_truth(
    folder: Path, videos: dict[str, np.ndarray], segments: dict[str, list[Segments]]
) -> tuple[Path, Path]:
    """Returns the json and the folder of its PNGs."""
    root = folder / "masks"
    content = {
        "videos": [
            {
                "video_id": video,
                "images": [
                    {"id": f"{t:03d}", "file_name": f"{t:03d}.png", "height": h, "width": w}
                    for t, (h, w) in enumerate(ids.shape for ids in frames)
                ],
            }
            for video, frames in videos.items()
        ],
        "annotations": write_videos(root, videos, segments, ".png"),
        "categories": CATEGORIES,
    }
    path = folder / "gt.json"
    path.write_text(json.dumps(content))
    return path, root


def write_results(
    folder: Path, videos: dict[str, np.ndarray], segments: dict[str, list[Segments]]
) -> tuple[Path, Path]:
    """Returns pred.json and pan_pred."""
    root = folder / "pan_pred"
    path = folder / "pred.json"
    annotations = write_videos(root, videos, segments, ".jpg")
    path.write_text(json.dumps({"annotations": annotations}))
    return path, root


def random_video(
    rng: np.random.Generator, frames: int = 7, size: tuple[int, int] = (12, 16)
) -> tuple[np.ndarray, list[Segments]]:
    """Rectangles that drift; classes flip, segments are shuffled, some are crowd."""
    ids = np.zeros((frames, *size), np.int64)
    for n in rng.permutation(np.array([7, 300, 70_000, 41, 5])):
        top, left = rng.integers(0, 8, 2)
        for t in range(frames):
            if rng.random() < 0.8:
                ids[t, top : top + 6, left + t // 2 : left + t // 2 + 7] = n
    ids[rng.random(ids.shape) < 0.05] = 0
    flips = {n: rng.choice([2, 5, 9], frames) for n in (7, 300, 70_000, 41, 5)}
    steady = {n: np.full(frames, rng.choice([5, 9])) for n in flips}
    by_class = {n: flips[n] if rng.random() < 0.3 else steady[n] for n in flips}
    listed = []
    for t in range(frames):
        order = rng.permutation(list(by_class)).tolist()
        crowd = tuple(n for n in (41, 5) if rng.random() < 0.9)
        listed.append(segments_of(ids[t], {n: int(by_class[n][t]) for n in order}, crowd))
    return ids, listed
