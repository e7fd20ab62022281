"""A synthetic data set in the format of OVIS, with a panoptic version beside it on request."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from dvis_daq.data.files import write_json
from dvis_daq.data.synthetic.panoptic import PanopticJson
from dvis_daq.data.synthetic.pictures import write_frames
from dvis_daq.data.synthetic.recipe import SPLITS, Recipe
from dvis_daq.data.synthetic.render import SyntheticVideo
from dvis_daq.data.synthetic.sprites import CLASSES


class InstanceLayout:
    """`<split>/<video>/<frame>.jpg` and `<split>.json`, see `instance_annotations`.

    With `recipe.panoptic` also `panoptic_<split>/<video>/<frame>.png` and
    `panoptic_<split>.json`.
    """

    OWNS = tuple(
        f"{prefix}{split}{suffix}"
        for prefix in ("", "panoptic_")
        for split in SPLITS
        for suffix in ("", ".json")
    )

    def __init__(self, recipe: Recipe, folder: Path, split: str) -> None:
        self.recipe, self.folder, self.split = recipe, folder, split
        self.panoptic = PanopticJson(recipe, folder / f"panoptic_{split}")
        self.data: dict[str, Any] = {
            "info": {"description": f"dvis_daq synthetic video, {split}"},
            "licenses": [],
            "videos": [],
            "annotations": [],
            "categories": [
                {"id": k + 1, "name": name, "supercategory": "shape"}
                for k, name in enumerate(CLASSES)
            ],
        }

    def add(self, index: int, video: SyntheticVideo) -> None:
        name, recipe = f"{index:04d}", self.recipe
        files = write_frames(self.folder / self.split / name, video.frames)
        size = {"width": recipe.width, "height": recipe.height, "length": recipe.frames}
        names = [f"{name}/{file}" for file in files]
        self.data["videos"].append({"id": index + 1, **size, "file_names": names})
        self.data["annotations"] += instance_annotations(
            video,
            min_visible=recipe.min_visible,
            video_id=index + 1,
            first_id=len(self.data["annotations"]) + 1,
        )
        if recipe.panoptic:
            self.panoptic.add(name, video)

    def finish(self) -> None:
        write_json(self.folder / f"{self.split}.json", self.data)
        if self.recipe.panoptic:
            write_json(self.folder / f"panoptic_{self.split}.json", self.panoptic.data)


def instance_annotations(
    video: SyntheticVideo, *, min_visible: int, video_id: int, first_id: int
) -> list[dict[str, Any]]:
    """The OVIS annotations of a video; objects that never show are left out.

    Beyond the format each has `script`, what the object does.

    Args:
        min_visible: px; fewer count as absent.
        video_id: of the json.
        first_id: annotation id of the first object.
    """
    masks = video.masks(min_visible)
    length, height, width = masks.shape[1:]
    rows: list[dict[str, Any]] = []
    for n in np.flatnonzero(masks.any((1, 2, 3))):
        encoded = rle.encode(np.asfortranarray(masks[n].transpose(1, 2, 0).astype(np.uint8)))
        areas = masks[n].sum((1, 2))  # pycocotools counts 255 masks at most
        seen = areas > 0
        share = areas / np.maximum(video.drawn[n], 1)
        boxes = rle.toBbox(encoded)
        rows.append(
            {
                "id": first_id + len(rows),
                "video_id": video_id,
                "category_id": int(video.labels[n]) + 1,
                "iscrowd": 0,
                "height": height,
                "width": width,
                "length": length,
                "segmentations": _where(seen, (_as_text(code) for code in encoded)),
                "bboxes": _where(seen, boxes.tolist()),
                "areas": _where(seen, areas.tolist()),
                "occlusion": _where(seen, map(_occlusion_level, share)),
                "script": video.scripts[n],
            }
        )
    return rows


def _where(seen: np.ndarray, values: Iterable[Any]) -> list[Any]:
    return [value if show else None for show, value in zip(seen, values, strict=True)]


def _as_text(code: dict[str, Any]) -> dict[str, Any]:
    return {"size": list(code["size"]), "counts": code["counts"].decode("ascii")}


def _occlusion_level(share: float) -> str:
    """OVIS's level for the visible share of a drawn shape; the image border hides nothing."""
    if share > 0.95:
        return "no_occlusion"
    return "slight_occlusion" if share > 0.5 else "severe_occlusion"
