"""Still images as videos of one frame: a COCO instances json, for clips made of one image.

COCO draws its objects as polygons. They are painted when a clip asks for them, so reading the
json of 118,000 images costs seconds and not minutes.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocotools import mask as rle

from dvis_daq.data.annotations import Record, load_json
from dvis_daq.data.classes import Categories
from dvis_daq.data.errors import BrokenDataError, Skipped, left_out
from dvis_daq.data.files import check_size, within
from dvis_daq.data.run_lengths import sample_mask
from dvis_daq.data.schema import is_polygon, within_reach
from dvis_daq.data.shapes import require_shape
from dvis_daq.data.transforms import Grid, Size
from dvis_daq.structures import ClipTargets

logger = logging.getLogger(__name__)

SHAPE: dict[str, Any] = {
    "images": [{"id": int, "file_name": str, "height": int, "width": int}],
    "annotations": [{"id": int, "image_id": int, "category_id": int}],
    "categories": [{"id": int, "name": str, "color?": [int]}],
}
IMAGE_KEYS = ("id", "file_name", "height", "width")
ANNOTATION_KEYS = ("id", "image_id", "category_id", "segmentation")


@dataclass(frozen=True)
class Polygons:
    """G objects of one image, each drawn by one or more polygons.

    Attributes:
        ids: (G,) int64 annotation ids, ascending.
        labels: (G,) int64 class index.
        size: (height, width) of the image in pixels.
        points: (P,) float32, x and y in turn, of all polygons one after the other.
        ends: (R,) int64 where each polygon ends in `points`.
        owners: (R,) int64 the object that each polygon belongs to, ascending.
    """

    ids: np.ndarray
    labels: np.ndarray
    size: Size
    points: np.ndarray
    ends: np.ndarray
    owners: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def is_empty(self, frames: Sequence[int]) -> bool:
        return len(self) == 0

    def read(self, frames: Sequence[int], grid: Grid) -> ClipTargets:
        """See `TargetSource`; all frames are the one image."""
        masks = np.zeros((len(self), *grid.size), dtype=bool)
        for row in range(len(self)):
            code = rle.merge(rle.frPyObjects(self._polygons(row), *self.size))
            if rle.area(code):
                runs = np.frombuffer(code["counts"], dtype=np.uint8)
                masks[row] = sample_mask(runs, self.size[0], grid.rows, grid.columns)
        kept = masks.any((1, 2))
        clip = torch.from_numpy(masks[kept])[:, None]
        return ClipTargets(
            labels=torch.from_numpy(self.labels[kept]),
            masks=clip.expand(-1, len(frames), -1, -1),
            ids=torch.from_numpy(self.ids[kept]),
        )

    def mapped(self, table: np.ndarray) -> Polygons:
        """With class table[k] for k; objects whose entry is negative are left out."""
        kept = np.flatnonzero(table[self.labels] >= 0)
        polygons = np.flatnonzero(np.isin(self.owners, kept))
        pieces = np.split(self.points, self.ends[:-1]) if len(self.ends) else []
        points = [pieces[i] for i in polygons]
        return replace(
            self,
            ids=self.ids[kept],
            labels=table[self.labels[kept]],
            points=np.concatenate([np.empty(0, dtype=np.float32), *points]),
            ends=np.cumsum([len(piece) for piece in points], dtype=np.int64),
            owners=np.searchsorted(kept, self.owners[polygons]),
        )

    def _polygons(self, row: int) -> list[list[float]]:
        first, last = np.searchsorted(self.owners, [row, row + 1])
        edges = np.append(0, self.ends)
        pieces = [self.points[edges[i] : edges[i + 1]] for i in range(first, last)]
        return [piece.astype(float).tolist() for piece in pieces]


def read_stills(
    json_file: Path, images: Path, skipped: Skipped | None = None
) -> tuple[list[Record], Categories]:
    """Reads a COCO instances json (or one that `datasets/prepare_coco.py` made of it).

    Crowds, which COCO encodes as run lengths, are left out.

    Args:
        json_file: `images`, `annotations`, `categories`.
        images: folder that the file names are relative to.
        skipped: broken entries are left out and noted here; None raises.

    Returns:
        Records of length 1 sorted by image id, and the classes sorted by id.

    Raises:
        BrokenDataError: an entry is broken; the message names it.
        ValueError: the file is missing or no json of this kind.
    """
    content = load_json(json_file)
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), list) for key in ("images", "annotations", "categories")
    ):
        raise ValueError(f"{json_file}: needs the lists 'images', 'annotations' and 'categories'")
    require_shape(content, SHAPE, f"{json_file}: top level", complete=False)
    require_shape(content["categories"], SHAPE["categories"], f"{json_file}: categories")
    categories = Categories.of(content["categories"])
    index = categories.index
    objects = _objects_by_image(content.pop("annotations"), index, json_file, skipped)
    records: dict[int, Record] = {}
    for image in sorted(content["images"], key=lambda image: image.get("id", -1)):
        where = f"{json_file}: image {image.get('id')}"
        try:
            if missing := [key for key in IMAGE_KEYS if key not in image]:
                raise BrokenDataError(f"{where} lacks '{missing[0]}'; repair the entry")
            if image["id"] in records:
                raise BrokenDataError(f"{where} has the id of another image; give it its own")
            items = objects.pop(image["id"], [])
            try:
                records[image["id"]] = _record(image, items, index, images)
            except BrokenDataError as error:
                raise BrokenDataError(f"{where}: {error}") from None
        except BrokenDataError as error:
            left_out(error, skipped)
    for image_id in sorted(objects):
        text = f"annotations name image {image_id}, which is not a sound entry of 'images'"
        left_out(BrokenDataError(f"{json_file}: {text}"), skipped)
    return list(records.values()), categories


def _objects_by_image(
    annotations: list[dict[str, Any]],
    index: dict[int, int],
    json_file: Path,
    skipped: Skipped | None,
) -> dict[int, list[dict[str, Any]]]:
    """Annotations that are no crowd and can be used."""
    objects: dict[int, list[dict[str, Any]]] = defaultdict(list)
    empty = 0
    for item in annotations:
        if item.get("iscrowd"):
            continue
        try:
            _check_annotation(item, index, json_file)
        except BrokenDataError as error:
            left_out(error, skipped)
            continue
        item["segmentation"] = [p for p in item["segmentation"] if is_polygon(p)]
        if item["segmentation"]:
            objects[item["image_id"]].append(item)
        else:
            empty += 1
    if empty:
        logger.warning("%s: %d annotations have no polygon of three corners", json_file, empty)
    return objects


def _check_annotation(item: dict[str, Any], index: dict[int, int], json_file: Path) -> None:
    where = f"{json_file}: annotation {item.get('id')}"
    missing = [key for key in ANNOTATION_KEYS if key not in item]
    if missing:
        raise BrokenDataError(f"{where}: lacks '{missing[0]}'; repair the entry")
    if item["category_id"] not in index:
        raise BrokenDataError(f"{where}: category_id {item['category_id']} is not in 'categories'")
    if not isinstance(item["segmentation"], list):
        raise BrokenDataError(f"{where}: is no polygon; run lengths are read of crowds only")
    if not all(isinstance(p, list) and within_reach(p) for p in item["segmentation"]):
        raise BrokenDataError(f"{where}: a polygon is no list of numbers near the frame")


def _record(
    image: dict[str, Any], items: list[dict[str, Any]], index: dict[int, int], images: Path
) -> Record:
    items = sorted(items, key=lambda item: item["id"])
    drawn = [item["segmentation"] for item in items]
    flat = [np.asarray(polygon, dtype=np.float32) for polygons in drawn for polygon in polygons]
    size = (image["height"], image["width"])
    check_size(*size)
    return {
        "video_id": image["id"],
        "height": size[0],
        "width": size[1],
        "length": 1,
        "file_names": [str(within(images, image["file_name"]))],
        "targets": Polygons(
            ids=np.array([item["id"] for item in items], dtype=np.int64),
            labels=np.array([index[item["category_id"]] for item in items], dtype=np.int64),
            size=size,
            points=np.concatenate([np.empty(0, dtype=np.float32), *flat]),
            ends=np.cumsum([len(polygon) for polygon in flat], dtype=np.int64),
            owners=np.repeat(np.arange(len(drawn)), [len(polygons) for polygons in drawn]),
        ),
    }
