"""A tiny YouTube-VIS data set on disk, made by the tests themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as rle

SIZE = (24, 32)  # height, width


def square(top: int, left: int, side: int = 6, size: tuple[int, int] = SIZE) -> np.ndarray:
    mask = np.zeros(size, dtype=np.uint8)
    mask[top : top + side, left : left + side] = 1
    return mask


def compressed(mask: np.ndarray) -> dict[str, Any]:
    code = rle.encode(np.asfortranarray(mask))
    return {"size": list(mask.shape), "counts": code["counts"].decode()}


def uncompressed(mask: np.ndarray) -> dict[str, Any]:
    flat = mask.flatten(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [1 - flat[-1]]])))
    counts = np.diff(np.concatenate([[0], edges]))
    return {"size": list(mask.shape), "counts": [int(c) for c in counts]}


def tiny_content(length: int = 5) -> dict[str, Any]:
    """Two videos; ids out of order; object 7 emerges in frame 2, object 3 leaves before 4."""
    videos = [
        {
            "id": 12,
            "width": 32,
            "height": 24,
            "length": length,
            "file_names": [f"b/{t:03d}.png" for t in range(length)],
        },
        {
            "id": 4,
            "width": 32,
            "height": 24,
            "length": length,
            "file_names": [f"a/{t:03d}.png" for t in range(length)],
        },
    ]
    late = [compressed(square(10, 2 + t)) if t >= 2 else None for t in range(length)]
    early = [uncompressed(square(2, 20 - t)) if t < 4 else None for t in range(length)]
    polygon = [[[1, 1, 9, 1, 9, 9, 1, 9]]] * length
    annotations = [
        _annotation(7, 4, 30, late),
        _annotation(3, 4, 10, early),
        _annotation(9, 12, 20, polygon),
    ]
    categories = [{"id": i, "name": name} for i, name in ((30, "cat"), (10, "dog"), (20, "cow"))]
    return {"videos": videos, "annotations": annotations, "categories": categories}


def _annotation(number: int, video: int, category: int, masks: list[Any]) -> dict[str, Any]:
    return {
        "id": number,
        "video_id": video,
        "category_id": category,
        "iscrowd": 0,
        "segmentations": masks,
    }


def write_tiny(folder: Path, content: dict[str, Any] | None = None) -> tuple[Path, Path]:
    """Writes frames whose red channel is 10 x frame index; returns (json file, image root)."""
    content = tiny_content() if content is None else content
    images = folder / "images"
    for video in content["videos"]:
        for t, name in enumerate(video["file_names"]):
            path = images / name
            path.parent.mkdir(parents=True, exist_ok=True)
            frame = np.zeros((video["height"], video["width"], 3), dtype=np.uint8)
            frame[..., 0] = 10 * t
            frame[..., 1] = np.arange(video["width"])
            frame[..., 2] = np.arange(video["height"])[:, None]
            Image.fromarray(frame).save(path)
    json_file = folder / "tiny.json"
    json_file.write_text(json.dumps(content))
    return json_file, images
