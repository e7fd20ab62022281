"""A still image as a training clip: it turns smoothly, so its objects move (joint training)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from dvis_daq.data.annotations import Record
from dvis_daq.data.images import read_image
from dvis_daq.data.mapper import describe
from dvis_daq.data.transforms import ClipTransform, Plan, Size
from dvis_daq.structures import ClipTargets

CENTRE = (0.4, 0.6)  # where the image turns about: share of its height and width


@dataclass(frozen=True)
class StillMapper:
    """Makes a training clip of a record of one frame (`stills`).

    Attributes:
        frames: T, frames of the clip.
        transform: augmentation, drawn once per clip; then the frames are turned.
        degrees: largest angle to either side; 0 repeats the image as it is.
        skip_empty_first: refuse clips whose first frame shows no object.
    """

    frames: int
    transform: ClipTransform
    degrees: float
    skip_empty_first: bool = False

    def __call__(self, record: Record, rng: np.random.Generator) -> dict[str, Any] | None:
        """One clip, see `ClipMapper`; None if it shows no object (draw again)."""
        source = record["targets"]
        if source.is_empty([0]):
            return None
        size = (record["height"], record["width"])
        plan = self.transform.draw(Plan.start(size), rng)
        still = source.read([0], plan.grid())
        if len(still) == 0:
            return None
        image = plan(read_image(record["file_names"][0], size))
        turns = smooth_turns(self.frames, self.degrees, tuple(image.shape[-2:]), rng)
        masks = turn_masks(plan.pad_masks(still.masks)[:, 0], turns)
        kept = masks.flatten(1).any(1)
        if not kept.any() or (self.skip_empty_first and not masks[:, 0].any()):
            return None
        targets = ClipTargets(still.labels[kept], masks[kept], still.ids[kept])
        clip = {"images": turn_image(image, turns), "targets": targets}
        about = describe(record, [0] * self.frames)
        times = {"length": self.frames, "frame_indices": list(range(self.frames))}
        return {**clip, **about, **times}


def smooth_turns(
    frames: int, degrees: float, size: Size, rng: np.random.Generator
) -> list[np.ndarray]:
    """Rotations whose angles grow, or fall in half of the clips, about one point.

    Args:
        frames: T.
        degrees: angles are uniform in -degrees..degrees.
        size: (height, width) of the image in pixels.

    Returns:
        T (2, 3) float64 matrices for `cv2.warpAffine`.
    """
    angles = np.sort(rng.uniform(-degrees, degrees, frames))
    if rng.random() < 0.5:
        angles = angles[::-1]
    y, x = rng.uniform(*CENTRE, 2) * size
    return [cv2.getRotationMatrix2D((x, y), angle, 1) for angle in angles]


def turn_image(image: Tensor, turns: Sequence[np.ndarray]) -> Tensor:
    """(T, 3, H, W) uint8 of one (3, H, W) uint8 image; bilinear, black where it has no pixel."""
    channels = np.ascontiguousarray(image.numpy())
    turned = np.empty((len(turns), *channels.shape), dtype=np.uint8)
    size = channels.shape[:0:-1]
    for frame, turn in zip(turned, turns, strict=True):
        for source, target in zip(channels, frame, strict=True):
            cv2.warpAffine(source, turn, size, dst=target, flags=cv2.INTER_LINEAR)
    return torch.from_numpy(turned)


def turn_masks(masks: Tensor, turns: Sequence[np.ndarray]) -> Tensor:
    """(G, T, H, W) bool of (G, H, W) bool masks; the nearest pixel.

    Eight masks at a time are the bits of one picture, which is turned in place of them.
    """
    pictures = np.packbits(masks.numpy(), axis=0, bitorder="little")  # (ceil(G / 8), H, W)
    turned = np.empty((len(masks), len(turns), *masks.shape[1:]), dtype=bool)
    size = tuple(masks.shape[:0:-1])
    for number, picture in enumerate(pictures):
        rows = turned[8 * number : 8 * number + 8]
        for t, turn in enumerate(turns):
            bits = cv2.warpAffine(picture, turn, size, flags=cv2.INTER_NEAREST)
            for place, row in enumerate(rows):
                np.not_equal(bits & np.uint8(1 << place), 0, out=row[t])
    return torch.from_numpy(turned)
