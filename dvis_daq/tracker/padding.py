"""Rows rounded up to a multiple, so that a compiled tracker meets few shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dvis_daq.tracker.anchors import Queries, Rivals


@dataclass(frozen=True)
class RowPadding:
    """Calls trackers with rows of zeros that nobody sees, and cuts them off again.

    Tracks come and go, so that almost every frame has another number of rows. Compiled code is
    made for a number, and a CUDA graph can be replayed for that one alone.

    Attributes:
        multiple: of which the number of rows shall be; 1 leaves rows as they are.
    """

    multiple: int = 1

    def __call__(
        self, tracker: Callable[..., Tensor], rows: Queries | Rivals, *others: Any
    ) -> Tensor:
        """What `tracker` says of N rows, (L, N, C).

        Args:
            tracker: called as `tracker(rows, *others, absent)`, `absent` being (N',) bool, True
                for padding, or None without.
            rows: N of them.
            others: the other arguments.
        """
        if self.multiple == 1:
            return tracker(rows, *others, None)
        present = len(rows.feature)
        missing = -present % self.multiple
        given = {name: x for name, x in rows._asdict().items() if x is not None}
        padded = rows._replace(**{name: _pad(x, missing) for name, x in given.items()})
        absent = torch.arange(present + missing, device=rows.feature.device) >= present
        # cloned, because a CUDA graph writes to the same place when it is replayed
        return tracker(padded, *others, absent)[:, :present].clone()


def _pad(x: Tensor, missing: int) -> Tensor:
    """`missing` rows of zeros after those of (N, ...)."""
    return F.pad(x, (*[0, 0] * (x.dim() - 1), 0, missing))
