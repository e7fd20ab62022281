"""Writes a synthetic data set: frames, OVIS-format json, and a panoptic version on request."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as rle

from dvis_daq.data.synthetic import panoptic
from dvis_daq.data.synthetic.recipe import SPLITS, Recipe
from dvis_daq.data.synthetic.render import SyntheticVideo, make_video
from dvis_daq.data.synthetic.sprites import CLASSES

logger = logging.getLogger(__name__)

_RECIPE_FILE = "recipe.json"
_JPEG_QUALITY = 93
_OWN_FILES = [f"{prefix}{split}" for prefix in ("", "panoptic_") for split in SPLITS]


class RecipeMismatchError(ValueError):
    """The folder holds something else than what is to be written there."""


def write_dataset(
    recipe: Recipe, folder: str | os.PathLike, *, force: bool = False
) -> Iterator[str]:
    """Writes the data set of a recipe, one video at a time.

    Makes `{train,val}/<video>/<frame>.jpg`, `{train,val}.json` and `recipe.json`; with
    `recipe.panoptic` also `panoptic_{train,val}/<video>/<frame>.png` and
    `panoptic_{train,val}.json`. An unfinished set of the same recipe is made again; a
    finished one is left alone and nothing is yielded.

    Args:
        force: replace a synthetic data set of another recipe. Files that no recipe wrote are
            never replaced.

    Yields:
        "<split>/<video>" as each video is on disk; iterate to the end to finish the set.

    Raises:
        RecipeMismatchError: the folder holds another data set or files of other origin.
    """
    folder = Path(folder)
    if _is_complete(folder, recipe, force=force):
        logger.info("%s already holds this recipe, nothing to do", folder)
        return
    _clear(folder)
    _write_recipe(folder, recipe, complete=False)
    for split, count in zip(SPLITS, (recipe.train, recipe.val), strict=True):
        yield from _write_split(recipe, folder, split, count)
    _write_recipe(folder, recipe, complete=True)


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
        areas = rle.area(encoded)
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


def _write_split(recipe: Recipe, folder: Path, split: str, count: int) -> Iterator[str]:
    data: dict[str, Any] = {
        "info": {"description": f"dvis_daq synthetic video, {split}"},
        "licenses": [],
        "videos": [],
        "annotations": [],
        "categories": [
            {"id": k + 1, "name": name, "supercategory": "shape"} for k, name in enumerate(CLASSES)
        ],
    }
    stuff = panoptic.empty_json()
    for index in range(count):
        name = f"{index:04d}"
        video = make_video(recipe, split, index)
        files = _write_frames(folder / split / name, video.frames)
        size = {"width": recipe.width, "height": recipe.height, "length": recipe.frames}
        names = [f"{name}/{file}" for file in files]
        data["videos"].append({"id": index + 1, **size, "file_names": names})
        data["annotations"] += instance_annotations(
            video,
            min_visible=recipe.min_visible,
            video_id=index + 1,
            first_id=len(data["annotations"]) + 1,
        )
        if recipe.panoptic:
            panoptic.add_video(
                stuff, video, folder=folder / f"panoptic_{split}", name=name, recipe=recipe
            )
        yield f"{split}/{name}"
    _write_json(folder / f"{split}.json", data)
    if recipe.panoptic:
        _write_json(folder / f"panoptic_{split}.json", stuff)


def _write_frames(folder: Path, frames: np.ndarray) -> list[str]:
    folder.mkdir(parents=True)
    names = [f"{t:05d}.jpg" for t in range(len(frames))]
    for name, frame in zip(names, frames, strict=True):
        _, coded = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        (folder / name).write_bytes(coded.tobytes())
    return names


def _is_complete(folder: Path, recipe: Recipe, *, force: bool) -> bool:
    """Whether the folder holds the finished set. Raises if it holds what must not be lost."""
    path = folder / _RECIPE_FILE
    if not path.exists():
        for name in _OWN_FILES:
            if (folder / name).exists() or (folder / f"{name}.json").exists():
                raise RecipeMismatchError(
                    f"{folder} has '{name}' but no {_RECIPE_FILE}, so it is not a synthetic data "
                    "set; choose another folder"
                )
        return False
    found = json.loads(path.read_text())
    complete = found.pop("complete", False)
    wanted = recipe.to_json()
    if found == wanted:
        return complete
    if force:
        return False
    keys = sorted(k for k in found.keys() | wanted.keys() if found.get(k) != wanted.get(k))
    changes = ", ".join(f"{k} {found.get(k)} -> {wanted.get(k)}" for k in keys)
    raise RecipeMismatchError(
        f"{folder} holds a synthetic data set of another recipe ({changes}); "
        "use --force to replace it or choose another folder"
    )


def _clear(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in _OWN_FILES:
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / f"{name}.json").unlink(missing_ok=True)


def _write_recipe(folder: Path, recipe: Recipe, *, complete: bool) -> None:
    _write_json(folder / _RECIPE_FILE, {**recipe.to_json(), "complete": complete}, indent=2)


def _write_json(path: Path, data: dict[str, Any], indent: int | None = None) -> None:
    temporary = path.with_suffix(".json.part")
    temporary.write_text(json.dumps(data, indent=indent))
    temporary.replace(path)


def _where(seen: np.ndarray, values: Iterable[Any]) -> list[Any]:
    return [value if show else None for show, value in zip(seen, values, strict=True)]


def _as_text(code: dict[str, Any]) -> dict[str, Any]:
    return {"size": list(code["size"]), "counts": code["counts"].decode("ascii")}


def _occlusion_level(share: float) -> str:
    """OVIS's level for the visible share of a drawn shape; the image border hides nothing."""
    if share > 0.95:
        return "no_occlusion"
    return "slight_occlusion" if share > 0.5 else "severe_occlusion"
