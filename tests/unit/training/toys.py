"""Small random clips, and points that do not change from call to call."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dvis_daq.structures import ClipTargets, FrameOutputs, Predictions
from dvis_daq.training.points import PointSampler

CLASSES, WIDTH, MASK_WIDTH = 4, 16, 8
MAP, PIXELS = (6, 8), (24, 32)


@dataclass(frozen=True)
class FixedPoints(PointSampler):
    """The same random points for every mask."""

    num_points: int = 40

    def uniform(self, sets: int, *, like: Tensor, frames: int = 1) -> Tensor:
        seed = torch.Generator().manual_seed(5)
        points = torch.rand(1, self.num_points * frames, 2, generator=seed, dtype=torch.float64)
        return points.to(like).expand(sets, -1, -1)

    def uncertain(self, logits: Tensor, *, frames: int = 1) -> Tensor:
        return self.uniform(len(logits), like=logits, frames=frames)


def toy_targets(visible: list[list[int]], *, pixels: tuple[int, int] = PIXELS) -> ClipTargets:
    """Object g is a square that is seen in the frames where `visible[g]` is 1."""
    objects, frames = len(visible), len(visible[0]) if visible else 3
    masks = torch.zeros(objects, frames, *pixels, dtype=torch.bool)
    for g, row in enumerate(visible):
        for t, seen in enumerate(row):
            top, left = 3 * g % 15, (5 * g + 2 * t) % 20
            masks[g, t, top : top + 7, left : left + 9] = bool(seen)
    return ClipTargets(torch.arange(objects) % CLASSES, masks, torch.arange(objects) + 10)


def toy_frames(frames: int, queries: int = 10, seed: int = 0) -> FrameOutputs:
    """What a segmenter might say, in float64."""
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    return FrameOutputs(
        embeds=draw(frames, queries, WIDTH),
        logits=2 * draw(frames, queries, CLASSES + 1),
        masks=3 * draw(frames, queries, *MAP),
        mask_features=draw(frames, MASK_WIDTH, *MAP),
        initial_queries=draw(queries, WIDTH),
    )


def toy_predictions(layers: int, rows: int, frames: int = 1, seed: int = 1) -> Predictions:
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(layers, rows, CLASSES + 1, generator=random, dtype=torch.float64)
    masks = torch.randn(layers, rows, frames, *MAP, generator=random, dtype=torch.float64)
    return Predictions(logits.requires_grad_(), masks.requires_grad_())
