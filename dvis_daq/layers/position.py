"""Sine position embedding of a feature map (Mask2Former, after DETR)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

TEMPERATURE = 10_000.0
EPS = 1e-6


def sine_position_2d(
    height: int,
    width: int,
    dim: int,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    """Embeds the pixels of a map by sines and cosines of their row and column.

    Args:
        height, width: h, w of the map.
        dim: C; the first half is for y, the second for x. A multiple of four.
        dtype, device: of the result.

    Returns:
        (C, h, w); sine in even channels, cosine in odd ones.

    Raises:
        ValueError: `dim` is no multiple of four.
    """
    if dim % 4:
        raise ValueError(f"a position embedding needs a multiple of 4 channels, not {dim}")
    half = dim // 2
    y = _embed_axis(height, half, dtype, device)[:, :, None].expand(half, height, width)
    x = _embed_axis(width, half, dtype, device)[:, None, :].expand(half, height, width)
    return torch.cat([y, x])


def _embed_axis(
    size: int, channels: int, dtype: torch.dtype, device: torch.device | str | None
) -> Tensor:
    """(channels, size) embedding of the places 1..size, scaled to a full circle."""
    exact = torch.promote_types(dtype, torch.float32)  # half precision cannot count the pixels
    place = torch.arange(1, size + 1, dtype=exact, device=device) * (2 * math.pi / (size + EPS))
    exponent = torch.arange(0, channels, 2, dtype=exact, device=device) / channels
    angle = place / (TEMPERATURE**exponent)[:, None]  # (channels / 2, size)
    return torch.stack([angle.sin(), angle.cos()], dim=1).flatten(0, 1).to(dtype)
