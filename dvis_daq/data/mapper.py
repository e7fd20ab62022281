"""Record to the dict that `VideoModel.forward` takes, for training and for test."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from dvis_daq.data.annotations import Record, TargetSource
from dvis_daq.data.images import LazyClip, read_image
from dvis_daq.data.sampling import ClipSampling, choose_frames
from dvis_daq.data.transforms import ClipTransform, Grid, Plan
from dvis_daq.structures import ClipTargets


@dataclass(frozen=True)
class ClipMapper:
    """Makes a training clip of a record.

    Attributes:
        sampling: which frames.
        transform: augmentation, drawn once per clip.
        skip_empty_first: refuse clips whose first frame shows no object.
    """

    sampling: ClipSampling
    transform: ClipTransform
    skip_empty_first: bool = False

    def __call__(self, record: Record, rng: np.random.Generator) -> dict[str, Any] | None:
        """One clip.

        Args:
            record: see `annotations`; it is not changed.
            rng: all randomness comes from here.

        Returns:
            `images` (T, 3, H, W) uint8 RGB, `targets` ClipTargets over the same T frames and
            pixels, and what `describe` tells; None if the clip shows no object (draw again).
        """
        frames = choose_frames(record["length"], self.sampling, rng)
        source = record["targets"]
        if source.is_empty(frames[:1] if self.skip_empty_first else frames):
            return None  # seen without decoding anything
        size = (record["height"], record["width"])
        plan = self.transform.draw(Plan.start(size), rng)
        targets = source.read(frames, plan.grid())
        targets = replace(targets, masks=plan.pad_masks(targets.masks))
        if len(targets) == 0 or (self.skip_empty_first and not targets.masks[:, 0].any()):
            return None
        names = record["file_names"]
        images = {t: plan(read_image(names[t], size)) for t in dict.fromkeys(frames)}
        clip = torch.stack([images[t] for t in frames])
        return {"images": clip, "targets": targets, **describe(record, frames)}


@dataclass(frozen=True)
class LazyTargets:
    """Ground truth of a whole video, decoded frame by frame.

    Attributes:
        source: of the video.
        length: frames of the video.
        grid: the pixels that the network sees.
    """

    source: TargetSource
    length: int
    grid: Grid

    @property
    def is_empty(self) -> bool:
        """Whether no frame shows an object."""
        return self.source.is_empty(range(self.length))

    def __getitem__(self, frame: int) -> ClipTargets:
        """The objects that are visible in one frame, T = 1."""
        return self.source.read([frame], self.grid)


@dataclass(frozen=True)
class VideoMapper:
    """Makes the input for inference of a record: all its frames, decoded as they are needed.

    Attributes:
        transform: resize without chance.
        labelled: with ground truth, for what is measured inside a model.
        give_objects: with `first_frame`, what video object segmentation is told beforehand.
    """

    transform: ClipTransform
    labelled: bool = False
    give_objects: bool = False

    def __call__(self, record: Record) -> dict[str, Any]:
        """`images` is a `LazyClip`, `targets` a `LazyTargets`; the rest is `describe`'s.

        `first_frame` is ClipTargets: the objects that frame 0 shows, masks (G, 1, H, W) at the
        size of the files.
        """
        size = (record["height"], record["width"])
        plan = self.transform.draw(Plan.start(size), np.random.default_rng(0))
        images = LazyClip(record["file_names"], size, plan)
        video = {"images": images, **describe(record, range(record["length"]))}
        if self.labelled:
            video["targets"] = LazyTargets(record["targets"], record["length"], plan.grid())
        if self.give_objects:
            video["first_frame"] = record["targets"].read([0], Plan.start(size).grid())
        return video


def describe(record: Record, frames: range | list[int]) -> dict[str, Any]:
    """What a model and an evaluator need to know of a clip beside its pixels."""
    return {
        "height": record["height"],  # of the files, pixels; results are given at this size
        "width": record["width"],
        "length": record["length"],  # frames of the whole video
        "video_id": record["video_id"],
        "file_names": [record["file_names"][t] for t in frames],
        "frame_indices": list(frames),
    }
