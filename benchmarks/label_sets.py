"""Synthetic panoptic and semantic videos on disk, for the benchmark of the evaluators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dvis_daq.evaluation.pictures import write_grey, write_segments

THINGS, STUFF = 12, 10  # segments of a video
CORNERS = 40


def write_panoptic_set(
    folder: Path, seed: int, *, videos: int, frames: int, size: tuple[int, int]
) -> None:
    """gt.json with masks/, pred.json with pan_pred/: the same shapes, a little shaken."""
    rng = np.random.default_rng(seed)
    categories = [{"id": k, "name": f"class {k}", "isthing": int(k < 58)} for k in range(124)]
    sides: dict[str, list[Any]] = {"masks": [], "pan_pred": []}
    listed = []
    for number in range(videos):
        video = f"{number:03d}"
        shapes = [_shape(rng, size) for _ in range(THINGS + STUFF)]
        things = rng.integers(0, 58, THINGS).tolist()
        classes = things + rng.choice(np.arange(58, 124), STUFF, replace=False).tolist()
        ids = rng.choice(2**24 - 1, len(classes), replace=False) + 1
        for side, entries in sides.items():
            noise = 0.0 if side == "masks" else 4.0
            per_frame = []
            for t in range(frames):
                drawn = ids[_draw(rng, shapes, t, size, noise)]
                write_segments(folder / side / video / f"{t:03d}.png", drawn)
                segments = _segments(drawn, dict(zip(ids.tolist(), classes, strict=True)))
                per_frame.append({"file_name": f"{t:03d}.png", "segments_info": segments})
            entries.append({"video_id": video, "annotations": per_frame})
        images = [
            {"id": f"{t:03d}", "file_name": f"{t:03d}.png", "height": size[0], "width": size[1]}
            for t in range(frames)
        ]
        listed.append({"video_id": video, "images": images})
    truth = {"videos": listed, "annotations": sides["masks"], "categories": categories}
    (folder / "gt.json").write_text(json.dumps(truth))
    (folder / "pred.json").write_text(json.dumps({"annotations": sides["pan_pred"]}))


def write_semantic_set(
    folder: Path, seed: int, *, videos: int, frames: int, size: tuple[int, int]
) -> None:
    """val.txt, data/<video>/mask and pred/<video>."""
    rng = np.random.default_rng(seed)
    names = [f"{number:03d}" for number in range(videos)]
    for video in names:
        shapes = [_shape(rng, size) for _ in range(THINGS + STUFF)]
        classes = rng.choice(124, len(shapes), replace=False).astype(np.uint8)
        for t in range(frames):
            truth = classes[_draw(rng, shapes, t, size, 0.0)] + 1
            write_grey(folder / "data" / video / "mask" / f"{t:03d}.png", truth)
            found = classes[_draw(rng, shapes, t, size, 4.0)]
            write_grey(folder / "pred" / video / f"{t:03d}.png", found)
    (folder / "val.txt").write_text("\n".join(names))


def _shape(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Corners around 0, a place and a speed; in pixels."""
    angle = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    reach = rng.uniform(0.06, 0.3) * size[0] * (1 + 0.15 * rng.standard_normal(CORNERS))
    corners = np.stack([reach * np.cos(angle), reach * np.sin(angle)], axis=1)
    return corners, rng.uniform(0, 1, 2) * size[::-1], rng.normal(0, 3, 2)


def _draw(
    rng: np.random.Generator,
    shapes: list[tuple[np.ndarray, ...]],
    t: int,
    size: tuple[int, int],
    noise: float,
) -> np.ndarray:
    """(H, W) number of the shape on top; the last one fills the background."""
    canvas = np.full(size, len(shapes) - 1, np.uint8)
    for number, (corners, place, speed) in reversed(list(enumerate(shapes[:-1]))):
        points = corners + place + t * speed + rng.normal(0, noise + 1e-9, corners.shape)
        cv2.fillPoly(canvas, [points.round().astype(np.int32)], number)
    return canvas


def _segments(ids: np.ndarray, class_of: dict[int, int]) -> list[dict[str, int]]:
    numbers, pixels = np.unique(ids, return_counts=True)
    return [
        {"id": n, "category_id": class_of[n], "iscrowd": 0, "area": area}
        for n, area in zip(numbers.tolist(), pixels.tolist(), strict=True)
    ]
