"""The panoptic version of a synthetic video: COCO-panoptic json and PNGs as VIPSeg has them."""

from __future__ import annotations

import colorsys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dvis_daq.data.synthetic.recipe import Recipe
from dvis_daq.data.synthetic.render import BAR_ID, SyntheticVideo
from dvis_daq.data.synthetic.sprites import CLASSES

STUFF = ("background", "bar")
_BACKGROUND_SEGMENT, _BAR_SEGMENT = 1, 2
_FIRST_OBJECT_SEGMENT = 3


def empty_json() -> dict[str, Any]:
    """A json without videos. Category ids count from 0, things first."""
    names = CLASSES + STUFF
    categories = []
    for index, name in enumerate(names):
        rgb = colorsys.hsv_to_rgb(index / len(names), 0.8, 0.9)
        color = [round(255 * channel) for channel in rgb]
        thing = int(index < len(CLASSES))
        categories.append({"id": index, "name": name, "isthing": thing, "color": color})
    return {"videos": [], "annotations": [], "categories": categories}


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


def add_video(
    data: dict[str, Any], video: SyntheticVideo, *, folder: Path, name: str, recipe: Recipe
) -> None:
    """Writes the PNGs of a video under `folder/name` and enters it in the json `data`."""
    images, annotations = [], []
    (folder / name).mkdir(parents=True)
    for t, ids in enumerate(segment_ids(video, recipe.min_visible)):
        image_id, file_name = f"{t:05d}", f"{t:05d}.png"
        rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
        _, coded = cv2.imencode(".png", rgb[..., ::-1])
        (folder / name / file_name).write_bytes(coded.tobytes())
        size = {"width": recipe.width, "height": recipe.height}
        images.append({"id": image_id, **size, "file_name": file_name})
        segments = _segments_info(ids, video.labels)
        annotations.append(
            {"image_id": image_id, "file_name": file_name, "segments_info": segments}
        )
    data["videos"].append({"video_id": name, "images": images})
    data["annotations"].append({"video_id": name, "annotations": annotations})


def _segments_info(ids: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    categories = {
        _BACKGROUND_SEGMENT: len(CLASSES) + STUFF.index("background"),
        _BAR_SEGMENT: len(CLASSES) + STUFF.index("bar"),
    }
    categories |= {n + _FIRST_OBJECT_SEGMENT: int(label) for n, label in enumerate(labels)}
    rows: list[dict[str, Any]] = []
    for segment in np.unique(ids[ids > 0]).tolist():
        mask = ids == segment
        x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
        rows.append(
            {
                "id": segment,
                "category_id": categories[segment],
                "iscrowd": 0,
                "area": int(mask.sum()),
                "bbox": [x, y, width, height],
            }
        )
    return rows
