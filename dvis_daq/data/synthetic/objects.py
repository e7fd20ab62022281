"""A synthetic data set in the format of MOSE (video object segmentation)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dvis_daq.data.prepare.mose import FRAMES, MASKS, write_mose_json
from dvis_daq.data.synthetic.pictures import write_frames, write_labels
from dvis_daq.data.synthetic.recipe import SPLITS, Recipe
from dvis_daq.data.synthetic.render import SyntheticVideo

FOLDERS = dict(zip(SPLITS, ("train", "valid"), strict=True))


class MoseLayout:
    """`{train,valid}/{JPEGImages,Annotations}/<video>/` and the json of `prepare_mose.py`.

    The objects are those that the first frame shows; frames before the first object are left
    out. Unlike MOSE, the validation set has all its masks.
    """

    OWNS = tuple(FOLDERS.values())

    def __init__(self, recipe: Recipe, folder: Path, split: str) -> None:
        self.recipe, self.root = recipe, folder / FOLDERS[split]

    def add(self, index: int, video: SyntheticVideo) -> None:
        masks = video.masks(self.recipe.min_visible)
        start = int(masks.any((0, 2, 3)).argmax())
        labels = np.zeros(video.id_map.shape, dtype=np.uint8)
        for number, mask in enumerate(masks, start=1):
            if mask[start].any():
                labels[mask] = number
        name = f"{index:04d}"
        write_frames(self.root / FRAMES / name, video.frames[start:])
        write_labels(self.root / MASKS / name, labels[start:], palette=True)

    def finish(self) -> None:
        if self.root.is_dir():  # a split may have no video
            write_mose_json(self.root, self.root / f"{self.root.name}.json")
