"""What all objectives share: their face, and their first act.

That is to run the segmenter on the clips, and to fit the targets to its maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dvis_daq.structures import Assignment, ClipTargets, FrameOutputs

STRIDE = 4  # pixels of the padded frame to a pixel of a mask map
NO_PAIRS = Assignment(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))


class Clip(NamedTuple):
    """One training clip.

    `images` is (T, 3, H, W) RGB 0..255, or what a frozen segmenter said of them earlier: its
    outputs may be computed once and used in many steps.
    """

    images: Tensor | FrameOutputs
    targets: ClipTargets

    def cut(self, frames: slice) -> Clip:
        """The clip of some of the frames."""
        return Clip(self.images[frames], self.targets[:, frames])


class Parts(Protocol):
    """What an objective may ask of a model."""

    segmenter: nn.Module
    tracker: nn.Module


class Objective(Protocol):
    """What a method learns, and which parts of the model learn it.

    One that remembers something between two steps has `state_dict` and `load_state_dict`, too.
    """

    trains: tuple[str, ...]

    def __call__(
        self, model: Parts, clips: Sequence[Clip], iteration: int
    ) -> dict[str, Tensor]: ...


def segment_clips(segmenter: nn.Module, clips: Sequence[Clip]) -> list[FrameOutputs]:
    """Runs the segmenter on all clips, those of one size together.

    Stored outputs pass through; those in half precision are cast up.
    """
    outputs: dict[int, FrameOutputs] = {}
    by_size: dict[torch.Size, list[int]] = {}
    for index, clip in enumerate(clips):
        if isinstance(clip.images, FrameOutputs):
            outputs[index] = clip.images.at_least_float32()
        else:
            by_size.setdefault(clip.images.shape[2:], []).append(index)
    for members in by_size.values():
        together = segmenter(torch.cat([clips[index].images for index in members]))
        start = 0
        for index in members:
            stop = start + len(clips[index].images)
            outputs[index], start = together[start:stop], stop
    return [outputs[index] for index in range(len(clips))]


def fit_targets(targets: ClipTargets, frames: FrameOutputs) -> ClipTargets:
    """Drops objects that are never visible and pads the masks like the frames.

    Args:
        targets: G objects over T frames of (H, W) pixels.
        frames: outputs for the T frames, padded at the bottom and the right.

    Raises:
        ValueError: the numbers of frames differ, or the masks are larger than the frames.
    """
    height, width = (STRIDE * size for size in frames.masks.shape[2:])
    missing = (height - targets.masks.shape[2], width - targets.masks.shape[3])
    if len(frames) != targets.num_frames or min(missing) < 0:
        raise ValueError(
            f"targets {tuple(targets.masks.shape)} (objects, frames, height, width) do not fit "
            f"{len(frames)} frames of {height}x{width} padded pixels"
        )
    seen = targets[targets.visible.any(1), :]
    masks = F.pad(seen.masks, (0, missing[1], 0, missing[0]))
    return ClipTargets(seen.labels, masks, seen.ids)
