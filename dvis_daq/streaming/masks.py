"""Masks of one frame, made only when somebody asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from dvis_daq.structures import FrameSizes
from dvis_daq.tasks.resize import PIXEL_BUDGET, resized
from dvis_daq.tasks.vis import RLE, encode


class Masks(Protocol):
    """Of n rows, at the size of the video."""

    def pieces(self) -> Iterator[Tensor]:
        """(m, H, W) bool, a few rows at a time."""


@dataclass(frozen=True)
class LogitMasks:
    """Masks that may overlap, from logits (n, 1, h, w) at stride 4."""

    logits: Tensor
    sizes: FrameSizes

    def pieces(self) -> Iterator[Tensor]:
        largest = max(height * width for height, width in (self.sizes.padded, self.sizes.output))
        for rows in self.logits.split(max(1, PIXEL_BUDGET // largest)):
            yield resized(rows, self.sizes)[:, 0] > 0


@dataclass(frozen=True)
class MapMasks:
    """Masks that share the pixels out: (H, W) row of each pixel, -1 where there is none."""

    row_map: Tensor
    rows: int

    def pieces(self) -> Iterator[Tensor]:
        for row in range(self.rows):
            yield self.row_map[None] == row


def as_array(masks: Masks, size: tuple[int, int]) -> np.ndarray:
    """(n, *size) bool."""
    pieces = [piece.cpu() for piece in masks.pieces()]
    return torch.cat(pieces).numpy() if pieces else np.zeros((0, *size), dtype=bool)


def as_rles(masks: Masks) -> list[RLE | None]:
    """COCO run lengths, None for an empty mask; one piece is unpacked at a time."""
    return [rle for piece in masks.pieces() for rle in encode(piece)]
