"""Video semantic segmentation as VSPW has it: folders of frames and of label PNGs, a list of names.

`<root>/<video>/origin/*.jpg` and `<root>/<video>/mask/*.png`; a PNG holds id + 1 of each
pixel's class, 0 where it is not labelled, 255 where it is to be ignored. Without `mask` a video
has no ground truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from dvis_daq.data.annotations import Record
from dvis_daq.data.classes import Categories
from dvis_daq.data.errors import BrokenDataError, Skipped, left_out
from dvis_daq.data.files import within
from dvis_daq.data.images import image_size, read_labels
from dvis_daq.data.transforms import Grid, Size
from dvis_daq.structures import ClipTargets

IGNORED = (0, 255)  # values of a PNG that are no class
IGNORE_LABEL = 255
UNKNOWN = 254
FRAME_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class SemanticFrames:
    """Label PNGs of T frames.

    Attributes:
        files: T PNGs; none for a video without ground truth.
        size: (height, width) of the frames in pixels.
        ids: (K,) int64 id of each class in the data set.
        table: (256,) uint8 class index by value of a PNG; `IGNORE_LABEL` or `UNKNOWN` for none.
    """

    files: tuple[str, ...]
    size: Size
    ids: np.ndarray
    table: np.ndarray

    @classmethod
    def of(cls, files: tuple[str, ...], size: Size, ids: np.ndarray) -> SemanticFrames:
        """PNGs with id + 1 of each pixel's class."""
        table = np.full(256, UNKNOWN, dtype=np.uint8)
        table[ids + 1] = np.arange(len(ids))
        table[list(IGNORED)] = IGNORE_LABEL
        return cls(files, size, ids, table)

    def is_empty(self, frames: Sequence[int]) -> bool:
        return not self.files  # what a PNG shows is known when it is read

    def read(self, frames: Sequence[int], grid: Grid) -> ClipTargets:
        """See `TargetSource`: one target a class, its id that of the class in the data set.

        Raises:
            BrokenDataError: a PNG is missing, damaged, or has a value that is no class.
        """
        labels = np.full((len(frames), *grid.size), IGNORE_LABEL, dtype=np.uint8)
        if self.files:
            read = {t: self.labels(t, grid) for t in set(frames)}
            labels = np.stack([read[t] for t in frames])
        present = np.flatnonzero(np.bincount(labels.ravel(), minlength=256)[: len(self.ids)])
        masks = labels[None] == present[:, None, None, None].astype(np.uint8)
        return ClipTargets(
            labels=torch.from_numpy(present),
            masks=torch.from_numpy(masks),
            ids=torch.from_numpy(self.ids[present]),
        )

    def mapped(self, table: np.ndarray) -> SemanticFrames:
        kept = np.flatnonzero(table >= 0)
        ids = np.full(table.max(initial=-1) + 1, -1)
        ids[table[kept]] = self.ids[kept]
        known = self.table < len(self.ids)
        entries = self.table.copy()
        entries[known] = np.where(table < 0, IGNORE_LABEL, table)[self.table[known]]
        return replace(self, ids=ids, table=entries)

    def labels(self, frame: int, grid: Grid | None = None) -> np.ndarray:
        """(H, W) uint8 class index of each pixel, `IGNORE_LABEL` where it has none."""
        values = read_labels(self.files[frame], self.size)
        if values.ndim != 2 or values.dtype != np.uint8:
            message = f"{self.files[frame]}: expected one byte a pixel (8-bit grey or palette)"
            raise BrokenDataError(message)
        labels = self.table[values if grid is None else values[grid.rows][:, grid.columns]]
        if (labels == UNKNOWN).any():
            odd = np.unique(values[self.table[values] == UNKNOWN])
            raise BrokenDataError(
                f"{self.files[frame]}: value {odd[0]} is no class (id + 1), nor 0 or 255; correct "
                "the mask, or name the classes by CATEGORIES"
            )
        return labels


def read_semantic(
    split: Path, root: Path, categories: Categories, skipped: Skipped | None = None
) -> tuple[list[Record], Categories]:
    """Reads a VSPW split.

    Args:
        split: text file, a video name a line.
        root: folder of the videos.
        categories: classes; ids from 0, at most 253 of them.
        skipped: broken videos are left out and noted here; None raises.

    Returns:
        Records sorted by name, which is their `video_id`, and `categories`.

    Raises:
        BrokenDataError: a video is missing or its frames and masks do not fit together.
        ValueError: the split file is missing or empty, or there are too many classes.
    """
    if min(categories.ids) < 0 or max(categories.ids) >= UNKNOWN - 1:
        raise ValueError(f"{split}: ids of classes must lie in 0..{UNKNOWN - 2}, one byte a pixel")
    if not Path(split).is_file():
        raise ValueError(f"{split}: list of videos not found")
    names = [line.strip() for line in Path(split).read_text().splitlines() if line.strip()]
    if not names:
        raise ValueError(f"{split}: names no video; expected one a line")
    ids = np.array(categories.ids, dtype=np.int64)
    records: dict[str, Record] = {}
    for name in sorted(names):
        try:
            if name in records:
                raise BrokenDataError(f"{split}: video '{name}' is listed twice")
            records[name] = _record(name, within(root, name), ids)
        except BrokenDataError as error:
            left_out(error, skipped)
    return list(records.values()), categories


def _record(name: str, folder: Path, ids: np.ndarray) -> Record:
    origin, masks = folder / "origin", folder / "mask"
    if not origin.is_dir():
        raise BrokenDataError(f"{origin}: folder of frames not found; see datasets/README.md")
    frames = sorted(f for f in origin.iterdir() if f.suffix.lower() in FRAME_SUFFIXES)
    if not frames:
        raise BrokenDataError(f"{origin}: has no frame ({', '.join(FRAME_SUFFIXES)})")
    files = tuple(str(masks / f"{frame.stem}.png") for frame in frames) if masks.is_dir() else ()
    if files:
        existing = {str(file) for file in masks.iterdir()}
        missing = [file for file in files if file not in existing]
        if missing:
            text = f"{len(missing)} frames have no mask, first {missing[0]}; copy the masks again"
            raise BrokenDataError(text)
    size = image_size(frames[0])
    return {
        "video_id": name,
        "height": size[0],
        "width": size[1],
        "length": len(frames),
        "file_names": [str(frame) for frame in frames],
        "targets": SemanticFrames.of(files, size, ids),
    }
