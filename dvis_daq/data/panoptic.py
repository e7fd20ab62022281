"""Video panoptic segmentation as VIPSeg has it: COCO-panoptic json and PNGs of segment ids.

One json for all videos; per frame a list of segments and a PNG in which every pixel is the id
of its segment, R + 256 G + 65536 B, 0 for void. A segment keeps its id over the whole video.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dvis_daq.data.annotations import Record, load_json
from dvis_daq.data.classes import Categories
from dvis_daq.data.errors import BrokenDataError, Skipped, left_out
from dvis_daq.data.files import within
from dvis_daq.data.images import read_labels
from dvis_daq.data.shapes import require_shape
from dvis_daq.data.transforms import Grid, Size
from dvis_daq.structures import ClipTargets

CROWD = -1  # in place of a class: pixels that belong to no object

_IMAGE = {"id": (str, int), "file_name": str, "height": int, "width": int}
_FRAME = {"image_id": (str, int), "segments_info": [{"id": int, "category_id": int}]}
SHAPE = {
    "videos": [{"video_id": str, "images": [_IMAGE]}],
    "annotations": [{"video_id": str, "annotations": [_FRAME]}],
    "categories": [{"id": int, "name": str, "color?": [int]}],
}


@dataclass(frozen=True)
class PanopticFrames:
    """Segments of T frames; their pixels stay in the PNGs until they are read.

    Attributes:
        files: T PNGs.
        size: (height, width) of the frames in pixels.
        first: (T + 1,) int64; the segments of frame t are the entries first[t] .. first[t + 1].
        ids: (S,) int64 segment ids.
        labels: (S,) int64 class index, `CROWD` for crowds.
    """

    files: tuple[str, ...]
    size: Size
    first: np.ndarray
    ids: np.ndarray
    labels: np.ndarray

    def is_empty(self, frames: Sequence[int]) -> bool:
        return not any((self._segments(t)[1] != CROWD).any() for t in frames)

    def read(self, frames: Sequence[int], grid: Grid) -> ClipTargets:
        """See `TargetSource`.

        Raises:
            BrokenDataError: a PNG is missing, damaged, or has an id that the json does not list.
        """
        listed = {i: label for t in frames for i, label in self.segments(t).items()}
        classes = {i: label for i, label in listed.items() if label != CROWD}
        rows = {segment: row for row, segment in enumerate(sorted(classes))}
        masks = np.zeros((len(rows), len(frames), *grid.size), dtype=bool)
        for t in set(frames):
            places = [i for i, frame in enumerate(frames) if frame == t]
            for segment, mask in self._masks(t, grid):
                if segment in rows:
                    masks[rows[segment], places] = mask
        kept = masks.any((1, 2, 3))
        ids = np.array(sorted(classes), dtype=np.int64)[kept]
        return ClipTargets(
            labels=torch.tensor([classes[i] for i in ids.tolist()], dtype=torch.int64),
            masks=torch.from_numpy(masks if kept.all() else masks[kept]),
            ids=torch.from_numpy(ids),
        )

    def mapped(self, table: np.ndarray) -> PanopticFrames:
        return replace(self, labels=np.append(table, CROWD)[self.labels])

    def segments(self, frame: int) -> dict[int, int]:
        """Class index, or `CROWD`, of each segment that the json lists in a frame, by its id."""
        return dict(zip(*(values.tolist() for values in self._segments(frame)), strict=True))

    def _segments(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids and labels of one frame."""
        entries = slice(self.first[frame], self.first[frame + 1])
        return self.ids[entries], self.labels[entries]

    def _masks(self, frame: int, grid: Grid) -> Iterator[tuple[int, np.ndarray]]:
        """Ids of one frame with their (H', W') bool masks."""
        file = self.files[frame]
        pixels = segment_ids(file, self.size, grid)
        known = 0
        for segment in self._segments(frame)[0].tolist():
            mask = pixels == segment
            known += np.count_nonzero(mask)
            yield segment, mask
        if known != np.count_nonzero(pixels):
            odd = sorted(set(np.unique(pixels).tolist()) - {0, *self._segments(frame)[0].tolist()})
            raise BrokenDataError(
                f"{file}: segment id {odd[0]} is not in the segments_info of this frame; "
                "correct the json, or paint the segment 0 (void)"
            )


def segment_ids(file: str | Path, size: Size | None = None, grid: Grid | None = None) -> np.ndarray:
    """Reads a panoptic PNG as (H, W) int32 segment ids.

    Args:
        file: 8-bit RGB.
        size: (height, width) that it must have.
        grid: the pixels to return; None takes all.

    Raises:
        BrokenDataError: the file is missing, damaged, of another size, or not RGB.
    """
    rgb = read_labels(file, size)
    if rgb.ndim != 3 or rgb.shape[2] < 3:
        raise BrokenDataError(
            f"{file}: not an RGB image, so its values are no segment ids; convert the data set "
            "with datasets/prepare_vipseg.py"
        )
    if grid is not None:
        rgb = rgb[grid.rows][:, grid.columns]
    wide = rgb.astype(np.int32)
    return wide[..., 0] + 256 * wide[..., 1] + 65536 * wide[..., 2]


def read_panoptic(
    json_file: Path, images: Path, masks: Path, skipped: Skipped | None = None
) -> tuple[list[Record], Categories]:
    """Reads a VIPSeg json.

    Args:
        json_file: `videos`, `annotations` (segments of all frames) and `categories`.
        images: folder with <video>/<frame>.jpg; the names in the json may end in .png.
        masks: folder with <video>/<frame>.png.
        skipped: broken videos are left out and noted here; None raises.

    Returns:
        Records sorted by video id (a string), and the classes, things first.

    Raises:
        BrokenDataError: an entry is broken; the message names it.
        ValueError: the file is missing or no json of this kind.
    """
    content = load_json(json_file)
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), list) for key in ("videos", "annotations", "categories")
    ):
        raise ValueError(f"{json_file}: needs the lists 'videos', 'annotations' and 'categories'")
    require_shape(content, SHAPE, f"{json_file}: top level")
    categories = Categories.of(content["categories"])
    annotations = {item["video_id"]: item["annotations"] for item in content["annotations"]}
    records: dict[str, Record] = {}
    for video in sorted(content["videos"], key=lambda video: video["video_id"]):
        name = video["video_id"]
        try:
            if name in records:
                raise BrokenDataError("another entry has the same id; give every video its own")
            frames = annotations.get(name, [])
            records[name] = _record(video, frames, categories.index, images, masks)
        except BrokenDataError as error:
            left_out(BrokenDataError(f"{json_file}: video '{name}': {error}"), skipped)
    return list(records.values()), categories


def _record(
    video: dict[str, Any],
    frames: list[dict[str, Any]],
    class_index: dict[int, int],
    images: Path,
    masks: Path,
) -> Record:
    name = video["video_id"]
    stems = [image["file_name"].split(".")[0] for image in video["images"]]
    sizes = {(image["height"], image["width"]) for image in video["images"]}
    if len(sizes) != 1:
        sizes_text = ", ".join(map(str, sorted(sizes)[:3])) or "none, it has no frame"
        raise BrokenDataError(f"frames must have one size, found {sizes_text}")
    if stems != sorted(set(stems)):
        raise BrokenDataError("its frames are not in temporal order, or listed twice; sort them")
    (size,) = sizes
    return {
        "video_id": name,
        "height": size[0],
        "width": size[1],
        "length": len(stems),
        "file_names": [str(within(images, f"{name}/{stem}.jpg")) for stem in stems],
        "targets": PanopticFrames(
            tuple(str(within(masks, f"{name}/{stem}.png")) for stem in stems),
            size,
            *_segments(video, frames, class_index),
        ),
    }


def _segments(
    video: dict[str, Any], frames: list[dict[str, Any]], class_index: dict[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`first`, `ids` and `labels` of `PanopticFrames`."""
    by_image = {frame["image_id"]: frame["segments_info"] for frame in frames}
    unknown = set(by_image) - {image["id"] for image in video["images"]}
    if unknown:
        raise BrokenDataError(f"annotated image '{min(unknown)}' is not in its 'images'")
    class_of: dict[int, int] = {}
    first, ids, labels = [0], [], []
    for image in video["images"]:
        for segment in by_image.get(image["id"], []):
            number, category = segment["id"], segment["category_id"]
            where = f"image '{image['id']}', segment {number}"
            if category not in class_index:
                raise BrokenDataError(f"{where}: category_id {category} is not in 'categories'")
            if class_of.setdefault(number, category) != category:
                raise BrokenDataError(
                    f"{where}: category_id {category}, but {class_of[number]} in an earlier "
                    "frame; a segment keeps its class over the video"
                )
            ids.append(number)
            labels.append(CROWD if segment.get("iscrowd") else class_index[category])
        first.append(len(ids))
    return tuple(np.array(values, dtype=np.int64) for values in (first, ids, labels))
