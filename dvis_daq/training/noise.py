"""Noise training of the referring tracker (DVIS++): rows begin a frame as something wrong.

Instead of being aligned with the candidate they resemble, rows get the frame's candidates in
their own order, mixed with a permutation of themselves, and must find their objects again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dvis_daq.tracker.referring import Start


class NoiseSource:
    """Random numbers for the noise, made on the CPU.

    Args:
        generator: source of randomness on the CPU; None for torch's own.
    """

    def __init__(self, generator: torch.Generator | None = None) -> None:
        self.generator = generator

    def happens(self, probability: float) -> bool:
        """True with this probability, 0..1."""
        return bool(torch.rand((), generator=self.generator) < probability)

    def permutation(self, n: int) -> Tensor:
        """(n,) int64."""
        return torch.randperm(n, generator=self.generator)

    def shares(self, n: int) -> Tensor:
        """(n,) in 0..1, the share of itself that each row keeps."""
        return torch.rand(n, generator=self.generator)


# Mixes the candidates (Q, C) of a frame with a permutation of them.
Mix = Callable[[Tensor, NoiseSource], Start]


def shuffle(candidates: Tensor, source: NoiseSource) -> Start:
    """Each row is another candidate (released: `rs`)."""
    other = source.permutation(len(candidates)).to(candidates.device)
    return Start(candidates[other], other)


def weighted_average(candidates: Tensor, source: NoiseSource) -> Start:
    """Each row is a weighted mean of two candidates and stands for the heavier one (`wa`)."""
    share, other = _partners(candidates, source)
    share = share.to(candidates)
    mixed = share[:, None] * candidates + (1 - share)[:, None] * candidates[other]
    return Start(mixed, _heavier(share >= 0.5, other))


def channel_cut(candidates: Tensor, source: NoiseSource) -> Start:
    """The first channels are of one candidate, the others of a second (`cc`)."""
    share, other = _partners(candidates, source)
    width = candidates.shape[1]
    cut = (share * width).long()  # (Q,) in 0..C-1
    first = torch.arange(width, device=candidates.device) < cut[:, None]
    mixed = torch.where(first, candidates, candidates[other])
    return Start(mixed, _heavier(cut >= width // 2, other))


MIXES: dict[str, Mix] = {"rs": shuffle, "wa": weighted_average, "cc": channel_cut}


@dataclass(frozen=True)
class QueryNoise:
    """Noise in some of the frames after the first.

    Attributes:
        mix: how candidates are mixed.
        ratio: 0..1, share of the frames that are disturbed.
        source: of randomness.
    """

    mix: Mix
    ratio: float
    source: NoiseSource = field(default_factory=NoiseSource)

    def __call__(self, candidates: Tensor) -> Start | None:
        """What the rows begin a frame as, from its candidates (Q, C); None: be aligned."""
        return self.mix(candidates, self.source) if self.source.happens(self.ratio) else None


def _partners(candidates: Tensor, source: NoiseSource) -> tuple[Tensor, Tensor]:
    """(Q,) share of itself, and (Q,) the other candidate, for each row."""
    number, device = len(candidates), candidates.device
    return source.shares(number).to(device), source.permutation(number).to(device)


def _heavier(itself: Tensor, other: Tensor) -> Tensor:
    """(Q,) the candidate that a row stands for, where `itself` (Q,) its own; may repeat."""
    return torch.where(itself, torch.arange(len(other), device=other.device), other)
