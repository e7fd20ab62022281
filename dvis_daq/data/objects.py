"""Video object segmentation (MOSE): a json like that of YouTube-VIS with one class, `object`.

`datasets/prepare_mose.py` makes it of the palette PNGs. Each annotation has `object_id`, the
value of the object in the PNGs, which results must be written with.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from dvis_daq.data.annotations import Record, instances, load_json, require_sound
from dvis_daq.data.classes import Categories
from dvis_daq.data.errors import BrokenDataError, Skipped

MAX_OBJECT = 254  # of a palette PNG; 0 is background, 255 is kept for void


def read_objects(
    json_file: Path, images: Path, skipped: Skipped | None = None
) -> tuple[list[Record], Categories]:
    """Reads a MOSE json.

    Args:
        json_file: see the module; without `object_id` the objects of a video are numbered from
            1 in the order of their annotation ids.
        images: folder that the file names are relative to.
        skipped: broken entries are left out and noted here; None raises.

    Returns:
        Records as `read_instances` gives them, but `video_id` is the name of the video's folder
        and the ids of the targets are those of the PNGs.

    Raises:
        BrokenDataError: an entry is broken; the message names it.
    """
    content = load_json(json_file)
    require_sound(content, json_file, skipped)
    numbers = _object_ids(json_file, content.get("annotations") or [])
    records, categories = instances(content, json_file, images, skipped)
    names = {
        video["id"]: PurePosixPath(video["file_names"][0]).parent.as_posix()
        for video in content["videos"]
    }
    if len(set(names.values())) < len(names):
        raise BrokenDataError(f"{json_file}: two videos have their frames in one folder")
    for record in records:
        tracks = record["targets"]
        ids = np.array([numbers[i] for i in tracks.ids.tolist()], dtype=np.int64)
        record["targets"] = tracks.rows(np.argsort(ids), ids=np.sort(ids))
        record["video_id"] = names[record["video_id"]]
    return sorted(records, key=lambda record: record["video_id"]), categories


def _object_ids(json_file: Path, annotations: list[dict[str, Any]]) -> dict[int, int]:
    """Object number by annotation id."""
    numbers: dict[int, int] = {}
    taken: dict[int, set[int]] = {}
    for item in sorted(annotations, key=lambda item: item["id"]):
        used = taken.setdefault(item["video_id"], set())
        number = item.get("object_id", len(used) + 1)
        if number in used or not 1 <= number <= MAX_OBJECT:
            raise BrokenDataError(
                f"{json_file}: annotation {item['id']}: object_id {number} is taken by another "
                f"object of the video or not in 1..{MAX_OBJECT}"
            )
        used.add(number)
        numbers[item["id"]] = number
    return numbers
