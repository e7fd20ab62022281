"""Momentum-weighted appearance of the tracked objects (paper Sec. 3.2, Eq. 4-5).

The mean appearance of a track is the positional embedding of its continuously tracked
query and of its disappearance anchor. It follows a new frame only as far as that frame
resembles the recent past, so an occluder or a wrong match leaves it almost untouched.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dvis_daq.layers import no_autocast


@dataclass(frozen=True)
class AppearanceMemory:
    """Appearance of N tracks, one per row.

    A memory is a value: no method changes it, each returns a new one. A training clip can
    therefore be differentiated through, and a video can be resumed from any frame.

    Attributes:
        mean: (N, C) momentum-weighted appearance, F-bar of Eq. 4.
        recent: (N, W, C) the last W observations at unit length, newest last; rows of
            zeros stand for observations not made yet.
        count: (N,) int64, observations made so far, at least 1.
    """

    mean: Tensor
    recent: Tensor
    count: Tensor

    @classmethod
    def start(cls, feature: Tensor, window: int) -> AppearanceMemory:
        """Begins N tracks from their first observation `feature`, (N, C)."""
        recent = feature.new_zeros(feature.shape[0], window, feature.shape[1])
        count = torch.zeros(feature.shape[0], dtype=torch.int64, device=feature.device)
        return cls(feature, _push(recent, F.normalize(feature, dim=-1)), count + 1)

    def observe(self, feature: Tensor, seen: Tensor) -> AppearanceMemory:
        """Adds one frame.

        Eq. 5 averages over all earlier frames. The released weights were trained with the
        last nine (W = 9); this also bounds the memory to N * W * C, however long the video.

        Args:
            feature: (N, C) appearance in this frame, F_mask of Eq. 3.
            seen: (N,) bool, the tracks that this frame shows; the others stay as they are.
        """
        unit = F.normalize(feature, dim=-1)
        with no_autocast(unit):  # the memory stays as exact as its input
            similarity = torch.einsum("nwc,nc->n", self.recent, unit)
        beta = (similarity / self.count.clamp(max=self.recent.shape[1])).clamp(min=0)  # Eq. 5
        mean = torch.lerp(self.mean, feature, beta[:, None])  # Eq. 4
        return AppearanceMemory(
            mean=torch.where(seen[:, None], mean, self.mean),
            recent=torch.where(seen[:, None, None], _push(self.recent, unit), self.recent),
            count=self.count + seen,
        )

    def select(self, rows: Tensor) -> AppearanceMemory:
        """Keeps `rows`, a bool mask (N,) or an index (M,)."""
        return AppearanceMemory(self.mean[rows], self.recent[rows], self.count[rows])

    def join(self, other: AppearanceMemory) -> AppearanceMemory:
        """Appends the tracks of `other` after these."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return AppearanceMemory(*(torch.cat(pair) for pair in pairs))


def _push(recent: Tensor, newest: Tensor) -> Tensor:
    """Drops the oldest of the W columns and appends `newest`, (N, C)."""
    return torch.cat([recent[:, 1:], newest[:, None]], dim=1)
