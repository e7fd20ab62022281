"""MinVIS: the segmenter learns from single frames, association needs no training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from dvis_daq.structures import Assignment, ClipTargets, Predictions
from dvis_daq.training.losses import LayerLosses, LossWeights, layer_losses, supervise
from dvis_daq.training.matching import match_clips
from dvis_daq.training.objectives.base import Clip, Parts, fit_targets, segment_clips
from dvis_daq.training.points import PointSampler


@dataclass(frozen=True)
class FrameObjective:
    """Every frame is an image of its own; every decoder layer is matched by itself.

    An object of the clip that is absent from a frame keeps its class there and has an empty
    mask, in the matching and in the losses (as released; a clip of one frame has none).

    Attributes:
        losses: weights.
        points: source of the points at which masks are compared.
    """

    losses: LossWeights = field(default_factory=LossWeights)
    points: PointSampler = field(default_factory=PointSampler)
    trains: ClassVar[tuple[str, ...]] = ("segmenter",)

    def __call__(self, model: Parts, clips: Sequence[Clip], iteration: int) -> dict[str, Tensor]:
        """Weighted losses by name; `_0` is the prediction before the first decoder layer."""
        images = []
        for clip, frames in zip(clips, segment_clips(model.segmenter, clips), strict=True):
            targets = fit_targets(clip.targets, frames)
            images += [(frames.predictions(t), targets[:, t]) for t in range(len(frames))]
        return image_losses(images, weights=self.losses, points=self.points).named()


def image_losses(
    images: Sequence[tuple[Predictions, ClipTargets]],
    *,
    weights: LossWeights,
    points: PointSampler,
    matches: Sequence[Sequence[Assignment]] | None = None,
) -> LayerLosses:
    """Losses of images, or of clips that count as one tall image.

    Args:
        images: predictions of L layers and their targets.
        weights: of the losses and of the matching costs.
        points: source of the points at which masks are compared.
        matches: pairs for each image and layer; None matches every layer by itself.
    """
    if matches is None:
        matches = match_clips(images, weights=weights, points=points)
    layers = []
    for layer, of_images in enumerate(zip(*matches, strict=True)):
        items = [
            supervise(predictions[layer : layer + 1, :], targets, match, count=len(targets))
            for (predictions, targets), match in zip(images, of_images, strict=True)
        ]
        layers.append(layer_losses(items, weights=weights, points=points))
    return LayerLosses(*(torch.cat(values) for values in zip(*layers, strict=True)))
