"""Mask logits at stride 4 become masks of the original video, a few frames at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from dvis_daq.layers import at_least_float32
from dvis_daq.structures import FrameSizes

PIXEL_BUDGET = 2**25  # pixels of all masks resized at once; 128 MiB in float32


def unpadded(masks: Tensor, sizes: FrameSizes) -> Tensor:
    """Stride-4 logits at the size of the network's input, without its padding.

    Args:
        masks: (N, T, h, w) logits; half precision is computed in float32.

    Returns:
        (N, T, *sizes.image) logits.
    """
    height, width = sizes.image
    return _bilinear(at_least_float32(masks), sizes.padded)[..., :height, :width]


def resized(masks: Tensor, sizes: FrameSizes) -> Tensor:
    """Stride-4 logits (N, T, h, w) at the output size, (N, T, *sizes.output)."""
    return _bilinear(unpadded(masks, sizes), sizes.output)


def resized_probabilities(masks: Tensor, sizes: FrameSizes) -> Tensor:
    """The same, 0..1: the sigmoid comes before the second resize (panoptic, semantic)."""
    return _bilinear(unpadded(masks, sizes).sigmoid(), sizes.output)


def by_frames(
    masks: Tensor,
    sizes: FrameSizes,
    resize: Callable[[Tensor, FrameSizes], Tensor],
    budget: int = PIXEL_BUDGET,
    *,
    device: torch.device | None = None,
) -> Iterator[tuple[slice, Tensor]]:
    """Resizes as many frames at a time as fit the budget, at least one.

    Args:
        masks: (N, T, h, w) logits.
        resize: `resized` or `resized_probabilities`.
        budget: pixels of all N masks.
        device: where to resize, and where the pieces are; None: where the masks are.

    Yields:
        The frames, and (N, t, *sizes.output) of them.
    """
    tracks, frames = masks.shape[:2]
    step = _step(budget, tracks, sizes)
    for start in range(0, frames, step):
        piece = slice(start, min(start + step, frames))
        yield piece, resize(masks[:, piece].to(device or masks.device), sizes)


def by_tracks(
    masks: Tensor,
    sizes: FrameSizes,
    resize: Callable[[Tensor, FrameSizes], Tensor],
    budget: int = PIXEL_BUDGET,
    *,
    device: torch.device | None = None,
) -> Iterator[tuple[slice, slice, Tensor]]:
    """As `by_frames`; of a frame that does not fit the budget, a few tracks at a time.

    Yields:
        The frames, the tracks, and (n, t, *sizes.output) of them; all tracks of some frames
        before the next frames.
    """
    tracks, frames = masks.shape[:2]
    step, rows = _step(budget, tracks, sizes), _step(budget, 1, sizes)
    for start in range(0, frames, step):
        piece = slice(start, min(start + step, frames))
        for first in range(0, tracks, rows):  # all of them where several frames fit
            some = slice(first, min(first + rows, tracks))
            yield piece, some, resize(masks[some, piece].to(device or masks.device), sizes)


def _step(budget: int, masks: int, sizes: FrameSizes) -> int:
    """How many times so many masks fit the budget, at least one."""
    largest = max(height * width for height, width in (sizes.padded, sizes.output))
    return max(1, budget // max(1, masks * largest))


def _bilinear(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if maps.numel() == 0:  # F.interpolate refuses an empty batch
        return maps.new_zeros(*maps.shape[:2], *size)
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)
