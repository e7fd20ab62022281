"""MOSE (frames and palette PNGs) to a json like that of YouTube-VIS with the one class `object`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from dvis_daq.data.errors import BrokenDataError
from dvis_daq.data.files import write_json
from dvis_daq.data.images import image_size, read_labels
from dvis_daq.data.prepare.parts import Parts, Progress

BACKGROUND, VOID = 0, 255
FRAMES, MASKS = "JPEGImages", "Annotations"


def write_mose_json(
    root: Path,
    output: Path,
    *,
    min_frames: int = 1,
    progress: Progress = iter,
    workers: int = 1,
) -> dict[str, int]:
    """Describes a split; a run that was interrupted goes on where it was.

    Args:
        root: folder with JPEGImages/<video>/*.jpg and Annotations/<video>/*.png. Frames without
            a PNG (in the validation set: all but the first) have no ground truth.
        output: the json.
        min_frames: shorter videos are left out (6 for training, as released).
        progress: wraps the list of videos, e.g. `tqdm`.
        workers: processes.

    Returns:
        Numbers of `videos`, `frames`, `objects`, `masks` written, and of `short` videos.

    Raises:
        BrokenDataError: a file is damaged, missing, or of another size than the others.
        ValueError: there are no videos.
    """
    frames = root / FRAMES
    names = sorted(f.name for f in frames.iterdir() if f.is_dir()) if frames.is_dir() else []
    if not names:
        raise ValueError(f"{frames}: no folders of frames; expected {FRAMES}/<video>/*.jpg")
    content: dict[str, Any] = {
        "info": {"description": f"{root.name} of MOSE, ids of PNGs in object_id"},
        "videos": [],
        "annotations": [],
        "categories": [{"id": 1, "name": "object"}],
    }
    short = 0
    parts = Parts(output)
    describe = partial(describe_video, root)
    for part in parts.make(names, describe, progress=progress, workers=workers):
        if part["video"]["length"] < min_frames:
            short += 1
            continue
        add_video(content, part)
    write_json(output, content)
    parts.remove()
    masks = [m for a in content["annotations"] for m in a["segmentations"] if m is not None]
    return {
        "videos": len(content["videos"]),
        "frames": sum(video["length"] for video in content["videos"]),
        "objects": len(content["annotations"]),
        "masks": len(masks),
        "short": short,
    }


def add_video(content: dict[str, Any], part: dict[str, Any]) -> None:
    """Enters what `describe_video` found in a json, with ids that are unique over it."""
    video_id = len(content["videos"]) + 1
    content["videos"].append({"id": video_id, **part["video"]})
    for item in part["annotations"]:
        number = len(content["annotations"]) + 1
        content["annotations"].append({"id": number, "video_id": video_id, **item})


def describe_video(root: Path, name: str) -> dict[str, Any]:
    """One video and its objects, without ids of the json."""
    frames = sorted((root / FRAMES / name).glob("*.jpg"))
    if not frames:
        raise BrokenDataError(f"{root / FRAMES / name}: has no .jpg; copy the folder again")
    size = image_size(frames[0])
    tracks: dict[int, list[Any]] = {}
    for t, frame in enumerate(frames):
        file = root / MASKS / name / f"{frame.stem}.png"
        if not file.is_file():
            continue
        labels = read_labels(file, size)
        if labels.ndim != 2:
            raise BrokenDataError(f"{file}: not a palette PNG, its values are no object numbers")
        for value in sorted(set(np.unique(labels).tolist()) - {BACKGROUND, VOID}):
            track = tracks.setdefault(value, [None] * len(frames))
            track[t] = rle.encode(np.asfortranarray(labels == value, dtype=np.uint8))
    height, width = size
    return {
        "video": {
            "height": height,
            "width": width,
            "length": len(frames),
            "file_names": [f"{name}/{frame.name}" for frame in frames],
        },
        "annotations": [_annotation(value, tracks[value], size) for value in sorted(tracks)],
    }


def _annotation(value: int, codes: list[Any], size: tuple[int, int]) -> dict[str, Any]:
    """The entry of one object; `areas` count the pixels of its masks."""
    return {
        "object_id": value,
        "category_id": 1,
        "iscrowd": 0,
        "height": size[0],
        "width": size[1],
        "length": len(codes),
        "segmentations": [
            code and {"size": list(code["size"]), "counts": code["counts"].decode()}
            for code in codes
        ],
        "bboxes": [code and rle.toBbox(code).tolist() for code in codes],
        "areas": [code and int(rle.area(code)) for code in codes],
    }
