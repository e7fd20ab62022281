"""The points at which masks are compared in training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dvis_daq.layers.points import uncertain_points


@dataclass(frozen=True)
class PointSampler:
    """Draws point sets for matching costs and mask losses. Points are (x, y) in 0..1.

    Attributes:
        num_points: P, points a mask and frame.
        oversample_ratio: candidates drawn for each point of a loss, at least 1.
        importance_ratio: share of a loss's points that are the most uncertain candidates.
        generator: source of randomness on the device of the masks; None for torch's own.
    """

    num_points: int = 12544
    oversample_ratio: float = 3.0
    importance_ratio: float = 0.75
    generator: torch.Generator | None = None

    def uniform(self, sets: int, *, like: Tensor, frames: int = 1) -> Tensor:
        """(sets, P * frames, 2) points spread evenly, with the dtype and device of `like`."""
        shape = (sets, self.num_points * frames, 2)
        return torch.rand(shape, dtype=like.dtype, device=like.device, generator=self.generator)

    def uncertain(self, logits: Tensor, *, frames: int = 1) -> Tensor:
        """(N, P * frames, 2) points, most of them where the masks `logits`, (N, h, w), waver."""
        return uncertain_points(
            logits,
            self.num_points * frames,
            oversample_ratio=self.oversample_ratio,
            importance_ratio=self.importance_ratio,
            generator=self.generator,
        )
