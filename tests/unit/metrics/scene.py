"""Tiny scenes drawn as rectangles, for expectations that are worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as coco

from dvis_daq.metrics.overlap import Overlap, overlaps
from dvis_daq.metrics.reading import parse_ground_truth, parse_results
from dvis_daq.metrics.tracks import GroundTruth

SIZE = (12, 16)  # height, width
A = (0, 0, 4, 4)  # x, y, width, height; 16 pixels
A_HALF = (0, 0, 4, 2)  # IoU with A 1/2
A_THIRD = (2, 0, 4, 4)  # IoU with A 1/3
B = (8, 6, 4, 4)  # apart from A

Box = tuple[int, int, int, int]


def rle(box: Box | None, size: tuple[int, int] = SIZE) -> dict[str, Any] | None:
    """RLE of a rectangle, None for None."""
    if box is None:
        return None
    x, y, width, height = box
    mask = np.zeros(size, np.uint8, order="F")
    mask[y : y + height, x : x + width] = 1
    encoded = coco.encode(mask)
    return {"size": list(size), "counts": encoded["counts"].decode()}


def annotations(*tracks: dict[str, Any], length: int, videos: int = 1) -> dict[str, Any]:
    """An annotation json; a track has "boxes" and may have other keys of an annotation."""
    entries = []
    for number, track in enumerate(tracks, start=1):
        fields = {"id": number, "video_id": 1, "category_id": 1, "iscrowd": 0, **track}
        fields["segmentations"] = [rle(box) for box in fields.pop("boxes")]
        entries.append(fields)
    size = {"height": SIZE[0], "width": SIZE[1], "length": length}
    return {
        "videos": [{"id": number, **size} for number in range(1, videos + 1)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": entries,
    }


def results(*tracks: dict[str, Any]) -> list[dict[str, Any]]:
    """Entries of a results.json; a track has "boxes" and may have other keys."""
    entries = []
    for track in tracks:
        fields = {"video_id": 1, "category_id": 1, "score": 0.9, **track}
        fields["segmentations"] = [rle(box) for box in fields.pop("boxes")]
        entries.append(fields)
    return entries


def scene(
    objects: list[list[Box | None]], found: list[tuple[float, list[Box | None]]]
) -> tuple[GroundTruth, Overlap]:
    """One video and class with these objects and (score, boxes) predictions."""
    length = len(objects[0])
    truth = parse_ground_truth(annotations(*({"boxes": o} for o in objects), length=length))
    entries = results(*({"score": score, "boxes": boxes} for score, boxes in found))
    (overlap,) = overlaps(truth, parse_results(entries, truth))
    return truth, overlap
