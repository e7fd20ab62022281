"""A synthetic data set with stuff: in the formats of VIPSeg (panoptic) and VSPW (semantic)."""

from __future__ import annotations

import colorsys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dvis_daq.data.files import write_bytes, write_json
from dvis_daq.data.synthetic.pictures import write_frames, write_ids, write_labels
from dvis_daq.data.synthetic.recipe import SPLITS, Recipe
from dvis_daq.data.synthetic.render import BAR_ID, SyntheticVideo
from dvis_daq.data.synthetic.sprites import CLASSES

STUFF = ("background", "bar")
_BACKGROUND_SEGMENT, _BAR_SEGMENT = 1, 2
_FIRST_OBJECT_SEGMENT = 3


def categories() -> list[dict[str, Any]]:
    """Ids count from 0, things first."""
    names = CLASSES + STUFF
    rows = []
    for index, name in enumerate(names):
        rgb = colorsys.hsv_to_rgb(index / len(names), 0.8, 0.9)
        color = [round(255 * channel) for channel in rgb]
        rows.append({"id": index, "name": name, "isthing": int(index < len(CLASSES)),
                     "color": color})  # fmt: skip
    return rows


class PanopticJson:
    """PNGs under `masks/<video>/` and the json that describes them."""

    def __init__(self, recipe: Recipe, masks: Path) -> None:
        self.recipe, self.masks = recipe, masks
        self.data: dict[str, Any] = {
            "videos": [], "annotations": [], "categories": categories()
        }  # fmt: skip

    def add(self, name: str, video: SyntheticVideo) -> None:
        ids = segment_ids(video, self.recipe.min_visible)
        files = write_ids(self.masks / name, ids)
        size = {"width": self.recipe.width, "height": self.recipe.height}
        images, annotations = [], []
        for file_name, frame in zip(files, ids, strict=True):
            image_id = Path(file_name).stem
            images.append({"id": image_id, **size, "file_name": file_name})
            segments = _segments_info(frame, video.labels)
            annotations.append(
                {"image_id": image_id, "file_name": file_name, "segments_info": segments}
            )
        self.data["videos"].append({"video_id": name, "images": images})
        self.data["annotations"].append({"video_id": name, "annotations": annotations})


class VipsegLayout:
    """`images/<video>/*.jpg`, `panomasksRGB/<video>/*.png`, `panoptic_gt_VIPSeg_<split>.json`."""

    OWNS = ("images", "panomasksRGB", *(f"panoptic_gt_VIPSeg_{split}.json" for split in SPLITS))

    def __init__(self, recipe: Recipe, folder: Path, split: str) -> None:
        self.folder, self.split = folder, split
        self.panoptic = PanopticJson(recipe, folder / "panomasksRGB")

    def add(self, index: int, video: SyntheticVideo) -> None:
        name = f"{self.split}_{index:04d}"
        write_frames(self.folder / "images" / name, video.frames)
        self.panoptic.add(name, video)

    def finish(self) -> None:
        write_json(self.folder / f"panoptic_gt_VIPSeg_{self.split}.json", self.panoptic.data)


class VspwLayout:
    """`data/<video>/{origin,mask}`, `<split>.txt` and `categories.json` (the classes' ids)."""

    OWNS = ("data", "categories.json", *(f"{split}.txt" for split in SPLITS))

    def __init__(self, recipe: Recipe, folder: Path, split: str) -> None:
        self.recipe, self.folder, self.split = recipe, folder, split
        self.names: list[str] = []

    def add(self, index: int, video: SyntheticVideo) -> None:
        name = f"{self.split}_{index:04d}"
        ids = segment_ids(video, self.recipe.min_visible)
        table = np.zeros(ids.max() + 1, dtype=np.uint8)  # 0: not labelled
        for segment, category in _category_of(video.labels).items():
            table[segment : segment + 1] = category + 1
        write_frames(self.folder / "data" / name / "origin", video.frames)
        write_labels(self.folder / "data" / name / "mask", table[ids])
        self.names.append(name)

    def finish(self) -> None:
        write_json(self.folder / "categories.json", categories(), indent=1)
        lines = "".join(f"{name}\n" for name in self.names)
        write_bytes(self.folder / f"{self.split}.txt", lines.encode())


def segment_ids(video: SyntheticVideo, min_visible: int) -> np.ndarray:
    """(T, H, W) int32: 0 void, 1 background, 2 the bar, n + 3 object n, over the whole video.

    What shows of an object that counts as absent is void.
    """
    table = np.zeros(256, dtype=np.int32)
    table[0], table[BAR_ID] = _BACKGROUND_SEGMENT, _BAR_SEGMENT
    ids = table[video.id_map]
    for n, mask in enumerate(video.masks(min_visible)):
        ids[mask] = n + _FIRST_OBJECT_SEGMENT
    return ids


def _category_of(labels: np.ndarray) -> dict[int, int]:
    """Category id by segment id."""
    stuff = {
        _BACKGROUND_SEGMENT: len(CLASSES) + STUFF.index("background"),
        _BAR_SEGMENT: len(CLASSES) + STUFF.index("bar"),
    }
    return stuff | {n + _FIRST_OBJECT_SEGMENT: int(label) for n, label in enumerate(labels)}


def _segments_info(ids: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    category_of = _category_of(labels)
    rows: list[dict[str, Any]] = []
    for segment in np.unique(ids[ids > 0]).tolist():
        mask = ids == segment
        x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
        rows.append(
            {
                "id": segment,
                "category_id": category_of[segment],
                "iscrowd": 0,
                "area": int(mask.sum()),
                "bbox": [x, y, width, height],
            }
        )
    return rows
