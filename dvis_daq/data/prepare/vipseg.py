"""VIPSeg as it is published to what is trained on: 720 pixels high, COCO-panoptic json, RGB ids.

A label map of the release has 0 for void, class id + 1 for stuff, (class id + 1) * 100 + n for
object n. Its values become the segment ids: they name a segment over the whole video already.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image

from dvis_daq.data.classes import vipseg_categories
from dvis_daq.data.errors import BrokenDataError
from dvis_daq.data.files import write_bytes
from dvis_daq.data.images import image_size, read_image, read_labels
from dvis_daq.data.transforms import Plan, Size

FRAMES, LABELS = "imgs", "panomasks"  # as published
IMAGES, IDS = "images", "panomasksRGB"  # as made
FIRST_OBJECT = 125  # values from here on are objects
OBJECT_STEP = 100
JPEG_QUALITY = 95


class Conversion(NamedTuple):
    """Where a conversion reads and writes, and how high its frames become.

    Attributes:
        raw: folder with imgs/<video>/*.jpg, panomasks/<video>/*.png.
        output: folder that gets images/, panomasksRGB/.
        height: of the frames, pixels; None keeps them.
    """

    raw: Path
    output: Path
    height: int | None


def read_split(file: Path) -> list[str]:
    """Video names of a text file.

    Raises:
        ValueError: it is missing or empty.
    """
    names = file.read_text().split() if file.is_file() else []
    if not names:
        raise ValueError(f"{file}: list of videos not found or empty")
    return names


def convert_video(plan: Conversion, name: str) -> dict[str, Any]:
    """Writes the frames and PNGs of one video.

    Returns:
        Its entries of the json: `video`, and `annotation` (segments empty without label maps).

    Raises:
        BrokenDataError: a file is damaged or missing, or a label has no class.
    """
    frames = sorted((plan.raw / FRAMES / name).glob("*.jpg"))
    if not frames:
        raise BrokenDataError(f"{plan.raw / FRAMES / name}: has no .jpg; copy the folder again")
    labelled = (plan.raw / LABELS / name).is_dir()  # not so in the test set
    size = new_size(image_size(frames[0]), plan.height)
    images, annotations = [], []
    for frame in frames:
        write_frame(frame, plan.output / IMAGES / name / frame.name, size)
        segments: list[dict[str, Any]] = []
        file_name = frame.name
        if labelled:
            file_name = f"{frame.stem}.png"
            ids = read_ids(plan.raw / LABELS / name / file_name, image_size(frame), size)
            write_ids(plan.output / IDS / name / file_name, ids)
            segments = segments_info(ids)
        images.append(
            {"id": frame.stem, "width": size[1], "height": size[0], "file_name": file_name}
        )
        annotations.append(
            {"image_id": frame.stem, "file_name": file_name, "segments_info": segments}
        )
    return {
        "video": {"video_id": name, "images": images},
        "annotation": {"video_id": name, "annotations": annotations},
    }


def panoptic_json(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The json of all videos."""
    return {
        "videos": [part["video"] for part in parts],
        "annotations": [part["annotation"] for part in parts],
        "categories": sorted(vipseg_categories().to_json(), key=lambda item: item["id"]),
    }


def new_size(size: Size, height: int | None) -> Size:
    """(height, width) at the wanted height, the proportions kept."""
    return size if height is None else (height, round(size[1] * height / size[0]))


def write_frame(source: Path, target: Path, size: Size) -> None:
    """Writes a frame at `size`; one that has it already is copied byte by byte."""
    target.parent.mkdir(parents=True, exist_ok=True)
    pixels = read_image(source).permute(1, 2, 0).numpy()  # read to the end, to find damage
    if pixels.shape[:2] == size:
        temporary = target.with_name(f"{target.name}.part")
        shutil.copyfile(source, temporary)
        temporary.replace(target)
        return
    shrinks = size[0] < pixels.shape[0]
    resized = cv2.resize(
        np.ascontiguousarray(pixels), size[::-1],
        interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
    )  # fmt: skip
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    _, coded = cv2.imencode(".jpg", resized[..., ::-1], quality)
    write_bytes(target, coded.tobytes())


def read_ids(file: Path, have: Size, want: Size) -> np.ndarray:
    """(H, W) int32 of a published label map of size `have`, resized to `want` (nearest).

    Raises:
        BrokenDataError: it is damaged, of another size, or has a value without class.
    """
    labels = read_labels(file, have)
    if labels.ndim != 2:
        raise BrokenDataError(f"{file}: expected one number a pixel (grey PNG)")
    grid = Plan.start(have).resized(want).grid()
    ids = labels.astype(np.int32)[grid.rows][:, grid.columns]
    known = set(vipseg_categories().ids)
    odd = [value for value in np.unique(ids[ids > 0]).tolist() if category_of(value) not in known]
    if odd:
        raise BrokenDataError(f"{file}: value {odd[0]} names no class of VIPSeg")
    return ids


def category_of(value: int) -> int:
    """Category id of a value of a label map."""
    return (value // OBJECT_STEP if value >= FIRST_OBJECT else value) - 1


def write_ids(file: Path, ids: np.ndarray) -> None:
    """Writes segment ids as an RGB PNG, R + 256 G + 65536 B."""
    rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
    coded = io.BytesIO()
    Image.fromarray(rgb).save(coded, "PNG")
    write_bytes(file, coded.getvalue())


def segments_info(ids: np.ndarray) -> list[dict[str, Any]]:
    """Segments of a frame, in the order of their ids."""
    rows = []
    for value in np.unique(ids[ids > 0]).tolist():
        mask = (ids == value).astype(np.uint8)
        rows.append(
            {
                "id": value,
                "category_id": category_of(value),
                "iscrowd": 0,
                "area": int(mask.sum()),
                "bbox": [int(v) for v in cv2.boundingRect(mask)],
            }
        )
    return rows
