"""Scores of whole tracks that are not the softmax of their mean logits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dvis_daq.layers import at_least_float32


@dataclass(frozen=True)
class BestScores:
    """The best score of each class in any frame or clip of n tracks (GenVIS)."""

    ids: Tensor  # (n,) rising
    best: Tensor  # (n, K + 1) 0..1, float32 at least

    @classmethod
    def start(cls, ids: Tensor, logits: Tensor) -> BestScores:
        """No tracks; device, type and K are those of the arguments."""
        return cls(ids[:0], at_least_float32(logits[:0]))

    def add(self, ids: Tensor, logits: Tensor) -> BestScores:
        """One more frame of the tracks `ids`, rising, from their logits (n, K + 1)."""
        known = torch.cat([self.ids, ids]).unique()
        before = torch.searchsorted(known, self.ids)
        best = self.best.new_zeros(len(known), logits.shape[1]).index_copy(0, before, self.best)
        rows = torch.searchsorted(known, ids)
        scores = torch.maximum(best[rows], logits.to(best.dtype).softmax(-1))
        return BestScores(known, best.index_copy(0, rows, scores))

    def of(self, ids: Tensor) -> Tensor:
        """(N, K + 1) best scores of the tracks `ids`, all of them known."""
        return self.best[torch.searchsorted(self.ids, ids)]

    def keep(self, ids: Tensor) -> BestScores:
        """Without the tracks that are not in `ids`."""
        rows = torch.isin(self.ids, ids)
        return BestScores(self.ids[rows], self.best[rows])
