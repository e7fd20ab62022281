"""Annotation files to records: one dict per video, its masks still encoded.

A record has the keys `video_id`, `height`, `width`, `length`, `file_names` (full paths, one
per frame) and `targets`, a `TargetSource`. The source decodes the chosen frames and no others,
so a record costs a data-loading process a few numpy arrays however many masks it has.

Other kinds of annotation have a reader of their own (`panoptic`, `semantic`, `objects`, `stills`)
that returns the same records with another `TargetSource`, and one line in `sources.READERS`.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from pycocotools import mask as rle

from dvis_daq.data.classes import Categories
from dvis_daq.data.errors import BrokenDataError, Skipped, left_out
from dvis_daq.data.run_lengths import pixel_counts, sample_mask
from dvis_daq.data.schema import is_polygon, problems, sound_entries
from dvis_daq.data.transforms import Grid
from dvis_daq.metrics.masks import to_counts
from dvis_daq.structures import ClipTargets

logger = logging.getLogger(__name__)

Record = dict[str, Any]


class TargetSource(Protocol):
    """Ground truth of one video, decoded on demand."""

    def is_empty(self, frames: Sequence[int]) -> bool:
        """Whether none of `frames` shows an object. Must not decode anything."""

    def read(self, frames: Sequence[int], grid: Grid) -> ClipTargets:
        """Decodes T frames.

        Args:
            frames: indices into the video, in the order of the clip; may repeat.
            grid: the pixels of the frames that the clip shows (resize, crop, flip).

        Returns:
            The objects with a pixel in at least one frame of the clip, sorted by id.
        """

    def mapped(self, table: np.ndarray) -> TargetSource:
        """With class table[k] in place of k; what has a negative entry is left out."""


@dataclass(frozen=True)
class EncodedTracks:
    """Masks of G objects over T frames, run-length encoded in one byte array.

    Attributes:
        ids: (G,) int64 annotation ids, ascending.
        labels: (G,) int64 class index.
        size: (height, width) of the frames in pixels.
        areas: (G, T) int64 pixels of each mask, 0 where an object is absent.
        offsets: (G * T + 1,) int64; the runs of object g in frame t are the bytes between
            entries g * T + t and g * T + t + 1.
        runs: uint8, COCO's compressed counts one after the other.
    """

    ids: np.ndarray
    labels: np.ndarray
    size: tuple[int, int]
    areas: np.ndarray
    offsets: np.ndarray
    runs: np.ndarray

    @classmethod
    def pack(
        cls,
        masks: Sequence[Sequence[bytes]],
        *,
        ids: Sequence[int],
        labels: Sequence[int],
        size: tuple[int, int],
        length: int,
    ) -> EncodedTracks:
        """From G lists of T compressed counts, empty where an object is absent.

        Raises:
            BrokenDataError: a mask does not fill the frame.
        """
        flat = [counts for track in masks for counts in track]
        offsets = np.cumsum([0] + [len(counts) for counts in flat])
        runs = np.frombuffer(b"".join(flat), dtype=np.uint8)
        totals, areas = pixel_counts(runs, offsets)
        wrong = np.flatnonzero((np.diff(offsets) > 0) & (totals != size[0] * size[1]))
        if len(wrong):
            row, frame = divmod(int(wrong[0]), length)
            raise BrokenDataError(
                f"annotation id {ids[row]}, frame {frame}: the runs of the mask do not fill the "
                f"frame of {size[0]} x {size[1]} pixels; encode the mask again"
            )
        return cls(
            ids=np.array(ids, dtype=np.int64),
            labels=np.array(labels, dtype=np.int64),
            size=size,
            areas=areas.reshape(len(ids), length),
            offsets=offsets,
            runs=runs,
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def visible(self) -> np.ndarray:
        """(G, T) bool, where an object has at least one pixel."""
        return self.areas > 0

    def is_empty(self, frames: Sequence[int]) -> bool:
        return not self.areas[:, list(frames)].any()

    def rows(
        self, rows: np.ndarray, *, ids: np.ndarray | None = None, labels: np.ndarray | None = None
    ) -> EncodedTracks:
        """The objects `rows` (N,) int64, with other ids or labels where they are given."""
        length = self.areas.shape[1]
        edges = self.offsets[::length]
        pieces = [self.runs[edges[row] : edges[row + 1]] for row in rows]
        sizes = np.diff(self.offsets).reshape(-1, length)[rows]
        return replace(
            self,
            ids=self.ids[rows] if ids is None else ids,
            labels=self.labels[rows] if labels is None else labels,
            areas=self.areas[rows],
            offsets=np.append(0, np.cumsum(sizes)),
            runs=np.concatenate([np.empty(0, dtype=np.uint8), *pieces]),
        )

    def mapped(self, table: np.ndarray) -> EncodedTracks:
        """With class table[k] for k; objects whose entry is negative are left out."""
        kept = np.flatnonzero(table[self.labels] >= 0)
        return self.rows(kept, labels=table[self.labels[kept]])

    def decode(self, row: int, frame: int) -> np.ndarray:
        """(H, W) uint8 mask of one object in one frame."""
        if not self.areas[row, frame]:
            return np.zeros(self.size, dtype=np.uint8)
        return rle.decode({"size": self.size, "counts": self._runs(row, frame).tobytes()})

    def read(self, frames: Sequence[int], grid: Grid) -> ClipTargets:
        visible = self.visible[:, list(frames)]
        rows = np.flatnonzero(visible.any(1))
        shape = (len(rows), len(frames), len(grid.rows), len(grid.columns))
        masks = np.zeros(shape, dtype=bool)
        for clip, row in zip(masks, rows.tolist(), strict=True):
            for i in np.flatnonzero(visible[row]).tolist():
                runs = self._runs(row, frames[i])
                clip[i] = sample_mask(runs, self.size[0], grid.rows, grid.columns)
        kept = masks.any((1, 2, 3))  # a crop may have removed an object
        return ClipTargets(
            labels=torch.from_numpy(self.labels[rows[kept]]),
            masks=torch.from_numpy(masks if kept.all() else masks[kept]),
            ids=torch.from_numpy(self.ids[rows[kept]]),
        )

    def _runs(self, row: int, frame: int) -> np.ndarray:
        cell = row * self.areas.shape[1] + frame
        return self.runs[self.offsets[cell] : self.offsets[cell + 1]]


def read_instances(
    json_file: Path, images: Path, skipped: Skipped | None = None
) -> tuple[list[Record], Categories]:
    """Reads a YouTube-VIS / OVIS json (video instance segmentation).

    Crowd annotations are left out. Masks without a pixel count as absent.

    Args:
        json_file: RLE compressed or not, polygons, null; `annotations` may be missing or null.
        images: folder that the file names are relative to.
        skipped: broken entries are left out and noted here; None raises.

    Returns:
        Records sorted by video id, and the classes sorted by id.

    Raises:
        BrokenDataError: the file is broken; the message names file, entry and remedy.
    """
    content = load_json(json_file)
    require_sound(content, json_file, skipped)
    return instances(content, json_file, images, skipped)


def require_sound(content: Any, json_file: Path, skipped: Skipped | None = None) -> None:
    """Raises with the first fault of a parsed YouTube-VIS json, or takes its broken entries out.

    Raises:
        BrokenDataError: there is a fault, and nothing may be skipped or it is one of the whole.
    """
    found = [p for p in problems(content) if p.level == "error"]
    if not found:
        return
    if skipped is None or any(p.entry in ("top level", "categories") for p in found):
        more = f" ({len(found) - 1} more: tools/dataset.py check)" if len(found) > 1 else ""
        raise BrokenDataError(f"{json_file}: {found[0]}{more}")
    for problem in found:
        skipped.add(BrokenDataError(f"{json_file}: {problem}"))
    for section in ("videos", "annotations"):
        content[section] = [item for _, item in sound_entries(content, section, found)]


def instances(
    content: dict[str, Any], json_file: Path, images: Path, skipped: Skipped | None = None
) -> tuple[list[Record], Categories]:
    """`read_instances` of a sound json that is parsed already; its annotations are taken out."""
    categories = Categories.of(content["categories"])
    tracks = defaultdict(list)
    for item in content.pop("annotations", None) or []:
        if not item.get("iscrowd"):
            tracks[item["video_id"]].append(item)
    records = []
    for video in sorted(content["videos"], key=lambda video: video["id"]):
        names = video["file_names"][: video["length"]]
        record = {key: video[key] for key in ("height", "width", "length")}
        record["video_id"] = video["id"]
        record["file_names"] = [str(images / name) for name in names]
        found = sorted(tracks.pop(video["id"], []), key=lambda item: item["id"])
        try:
            record["targets"] = _encode(found, categories.index, video)
        except BrokenDataError as error:
            left_out(BrokenDataError(f"{json_file}: {error}"), skipped)
        else:
            records.append(record)
    unseen = sum(int((~record["targets"].visible.any(1)).sum()) for record in records)
    if unseen:
        logger.warning("%s: %d annotations have no pixel in any frame", json_file, unseen)
    return records, categories


def load_json(json_file: Path) -> Any:
    """Parses a json file.

    Raises:
        ValueError: it is missing or no json; the message names it.
    """
    if not Path(json_file).is_file():
        raise ValueError(f"{json_file}: annotation file not found")
    try:
        return json.loads(Path(json_file).read_bytes())
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError
        raise ValueError(f"{json_file}: not a json file ({error}); was it cut short?") from error


def compress(mask: Any, size: tuple[int, int]) -> bytes:
    """COCO's compressed counts of any kind of mask in a json; empty for none.

    Args:
        mask: None, an RLE with `counts` as str or list, or a list of polygons.
        size: (height, width) of the frame.
    """
    if isinstance(mask, list):
        mask = [polygon for polygon in mask if is_polygon(polygon)]
    counts = to_counts(mask, size) or b""
    return counts.encode() if isinstance(counts, str) else counts


def _encode(
    items: list[dict[str, Any]], class_index: dict[int, int], video: dict[str, Any]
) -> EncodedTracks:
    size = (video["height"], video["width"])
    return EncodedTracks.pack(
        [[compress(mask, size) for mask in item["segmentations"]] for item in items],
        ids=[item["id"] for item in items],
        labels=[class_index[item["category_id"]] for item in items],
        size=size,
        length=video["length"],
    )
