"""Results of video instance segmentation on disk: written video by video, merged over processes.

A part file has one json line a video, {"video_id": ..., "results": [entry, ...]}, so that a
process never holds more than one video. `merge` puts all parts into one results.json, sorted
by video id, whatever process saw which video: tied scores are then broken the same way on one
GPU and on eight.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from pycocotools import mask as coco
from torch import Tensor

from dvis_daq.checkpoint import write_atomically

logger = logging.getLogger(__name__)

RLE = dict[str, Any]  # {"size": [H, W], "counts": str}


class PartFile:
    """The results of one process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def clear(self) -> None:
        """Begins an empty file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(b"")

    def append(self, video_id: int | str, entries: list[dict[str, Any]]) -> None:
        """Adds one video."""
        self.write({"video_id": video_id, "results": entries})

    def write(self, *lines: dict[str, Any]) -> None:
        """Adds lines as they are."""
        with open(self.path, "a", encoding="ascii") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)


def entries_of_video(
    video: dict[str, Any], output: dict[str, Any], category_ids: Sequence[int]
) -> list[dict[str, Any]]:
    """Entries of results.json for one video.

    Args:
        video: with video_id, length in frames, height and width in pixels (the original size).
        output: "scores" (n,), "labels" (n,) class index, and "masks": bool (n, T, H, W), or for
            each instance a list of T RLEs, None where it is absent.
        category_ids: id in the data set of each class index.

    Raises:
        ValueError: numbers or sizes that do not fit each other, a score that is not finite.
    """
    size = video["length"], video["height"], video["width"]
    masks = _run_lengths(output["masks"])
    entries = []
    for score, label, frames in zip(
        _list(output["scores"]), _list(output["labels"]), masks, strict=True
    ):
        if not math.isfinite(score):
            raise ValueError(f"video {video['video_id']} has the score {score}")
        _check_size(frames, size, video["video_id"])
        entry = {"video_id": video["video_id"], "score": float(score)}
        category = category_ids[label]
        entries.append({**entry, "category_id": category, "segmentations": frames})
    return entries


def _list(values: Tensor | Sequence[Any]) -> list[Any]:
    return values.tolist() if isinstance(values, Tensor) else list(values)


def _run_lengths(masks: Tensor | Iterable[list[RLE | None]]) -> Iterable[list[RLE | None]]:
    if not isinstance(masks, Tensor):
        return masks
    if masks.dim() != 4 or masks.dtype != torch.bool:
        raise ValueError(f"masks must be bool (n, T, H, W), not {masks.dtype} {tuple(masks.shape)}")
    return ([_encode(frame) for frame in track.cpu().numpy()] for track in masks)


def _encode(mask: np.ndarray) -> RLE | None:
    """RLE of a bool mask (H, W), None if it is empty."""
    if not mask.any():
        return None
    rle = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": rle["counts"].decode("ascii")}


def _check_size(frames: list[RLE | None], size: tuple[int, int, int], video_id: int) -> None:
    found = {tuple(rle["size"]) for rle in frames if rle is not None}
    if len(frames) != size[0] or not found <= {size[1:]}:
        raise ValueError(
            f"video {video_id} has {size[0]} frames of (height, width) {size[1:]}, the masks "
            f"{len(frames)} of {sorted(found)}: resize masks to the original size of the video"
        )


def merge(parts: Sequence[Path], target: Path) -> int:
    """Writes results.json from the parts of all processes; holds one video at a time.

    Args:
        parts: by process.
        target: old or complete, never half written.

    Returns:
        Number of entries.

    Raises:
        FileNotFoundError: see `read_parts`.
    """
    count = 0

    def write(file: BinaryIO) -> None:
        nonlocal count
        file.write(b"[")
        for line in read_parts(parts):
            for entry in line["results"]:
                file.write(b",\n" if count else b"\n")
                file.write(json.dumps(entry).encode("ascii"))
                count += 1
        file.write(b"\n]\n")

    write_atomically(target, write)
    return count


def read_parts(parts: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """The lines of all processes by rising video id, one at a time.

    A video that is in several parts (a sampler that fills up the last batch) is taken from the
    first.

    Raises:
        FileNotFoundError: a part is missing; processes must share the output folder.
    """
    places: dict[int | str, tuple[Path, int]] = {}
    for part in parts:
        if not part.exists():
            raise FileNotFoundError(
                f"{part} is missing: all processes must write to one shared OUTPUT_DIR"
            )
        for video_id, offset in _lines(part):
            if video_id in places:
                logger.warning("video %s was processed twice; the first result counts", video_id)
            places.setdefault(video_id, (part, offset))
    for video_id in sorted(places):  # type: ignore[type-var]  # all of one kind
        yield _read_line(*places[video_id])


def _lines(part: Path) -> Iterator[tuple[int | str, int]]:
    """(video id, offset in bytes) of each line."""
    with open(part, "rb") as file:
        offset = 0
        for line in file:
            yield json.loads(line)["video_id"], offset
            offset += len(line)


def _read_line(part: Path, offset: int) -> dict[str, Any]:
    with open(part, "rb") as file:
        file.seek(offset)
        return json.loads(file.readline())


def concatenate(parts: Sequence[Path], target: Path) -> None:
    """Joins the lines of all parts, which are few and in any order; no file if there are none."""
    text = b"".join(part.read_bytes() for part in parts)
    target.unlink(missing_ok=True)
    if text:
        write_atomically(target, lambda file: file.write(text))
