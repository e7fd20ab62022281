"""Pixel decoder: deformable encoder over three scales, then an FPN step to stride 4.

Parameter names are the released ones (Mask2Former's MSDeformAttn pixel decoder).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dvis_daq.layers import (
    MSDeformableAttention,
    c2_xavier_fill,
    half_range,
    pixel_centres,
    sine_position_2d,
    without_float16,
    xavier_matrices,
)

if TYPE_CHECKING:
    from detectron2.layers import ShapeSpec

NORM_GROUPS = 32


class PixelFeatures(NamedTuple):
    """What the query decoder sees of T frames."""

    levels: list[Tensor]  # (T, C, h_l, w_l) each, coarsest first
    mask_features: Tensor  # (T, D, h, w)
    finest: Tensor | None = None  # (T, C, h, w) what the mask features are made of


class PixelDecoder(nn.Module):
    """Refines backbone maps and makes the mask features, in float32 also under autocast to float16.

    Args:
        input_shape: channels and stride of every backbone map to be used.
        transformer_features: names of the maps that the encoder refines; the finer maps of
            `input_shape` join by the FPN.
        hidden_dim: C, a multiple of 32 (groups of the normalisation).
        mask_dim: D.
        heads, points: of the deformable attention.
        ffn_dim: hidden width of the encoder's feed-forward blocks.
        num_layers: encoder layers.

    Raises:
        ValueError: a map of `transformer_features` is missing or finer than one of the others.
    """

    def __init__(
        self,
        input_shape: Mapping[str, ShapeSpec],
        *,
        transformer_features: Sequence[str] = ("res3", "res4", "res5"),
        hidden_dim: int = 256,
        mask_dim: int = 256,
        heads: int = 8,
        points: int = 4,
        ffn_dim: int = 1024,
        num_layers: int = 6,
    ) -> None:
        super().__init__()
        self.coarse, self.fine = _split(input_shape, transformer_features)
        self.input_proj = nn.ModuleList(
            nn.Sequential(nn.Conv2d(input_shape[name].channels, hidden_dim, 1), _norm(hidden_dim))
            for name in self.coarse
        )
        for projection in self.input_proj:
            nn.init.xavier_uniform_(projection[0].weight)
            nn.init.zeros_(projection[0].bias)
        self.transformer = DeformableEncoder(
            hidden_dim,
            levels=len(self.coarse),
            heads=heads,
            points=points,
            ffn_dim=ffn_dim,
            num_layers=num_layers,
        )
        for index, name in enumerate(self.fine, start=1):
            adapter = NormConv(input_shape[name].channels, hidden_dim, kernel_size=1)
            self.add_module(f"adapter_{index}", adapter)
            self.add_module(f"layer_{index}", NormConv(hidden_dim, hidden_dim, kernel_size=3))
        self.mask_features = nn.Conv2d(hidden_dim, mask_dim, 1)
        c2_xavier_fill(self.mask_features)

    @property
    def hidden_dim(self) -> int:
        return self.mask_features.in_channels

    @property
    def mask_dim(self) -> int:
        return self.mask_features.out_channels

    def forward(self, features: Mapping[str, Tensor]) -> PixelFeatures:
        """Decodes the backbone maps `features`, name -> (T, channels, h_l, w_l)."""
        with half_range(next(iter(features.values()))):
            maps = {name: without_float16(features[name]) for name in (*self.coarse, *self.fine)}
            projected = [
                projection(maps[name])
                for name, projection in zip(self.coarse, self.input_proj, strict=True)
            ]
            levels = self.transformer(projected)
            y = levels[-1]
            for index, name in reversed(list(enumerate(self.fine, start=1))):
                lateral = self.get_submodule(f"adapter_{index}")(maps[name])
                y = F.interpolate(y, lateral.shape[-2:], mode="bilinear", align_corners=False)
                y = F.relu_(self.get_submodule(f"layer_{index}")(lateral.add_(y)))
            return PixelFeatures(levels, self.mask_features(y), y)


class DeformableEncoder(nn.Module):
    """Lets the pixels of all levels read each other by deformable attention."""

    def __init__(
        self,
        dim: int,
        *,
        levels: int,
        heads: int,
        points: int,
        ffn_dim: int,
        num_layers: int,
    ) -> None:
        super().__init__()
        self.level_embed = nn.Parameter(torch.randn(levels, dim))
        layers = (
            EncoderLayer(
                MSDeformableAttention(dim, heads=heads, levels=levels, points=points),
                dim=dim,
                ffn_dim=ffn_dim,
            )
            for _ in range(num_layers)
        )
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList(layers)})  # for the released names

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Refines maps (T, C, h_l, w_l); a level's row of `level_embed` is its place here."""
        sizes = [tuple(image.shape[-2:]) for image in maps]
        x = torch.cat([_tokens(image) for image in maps], dim=1)  # (T, S, C)
        position = torch.cat(
            [
                _tokens(sine_position_2d(*size, x.shape[-1], dtype=x.dtype, device=x.device)) + row
                for size, row in zip(sizes, self.level_embed, strict=True)
            ]
        )  # (S, C)
        reference = pixel_centres(sizes, like=x)
        for layer in self.encoder["layers"]:
            x = layer(x, position, reference, sizes)
        pieces = x.split([h * w for h, w in sizes], dim=1)
        # seen as channels last in memory, which is what all that follows prefers
        return [
            piece.unflatten(1, size).permute(0, 3, 1, 2)
            for piece, size in zip(pieces, sizes, strict=True)
        ]


class EncoderLayer(nn.Module):
    """Post-norm deformable self-attention and feed-forward block."""

    def __init__(self, attention: MSDeformableAttention, *, dim: int, ffn_dim: int) -> None:
        super().__init__()
        self.self_attn = attention
        self.norm1 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, ffn_dim)
        self.linear2 = nn.Linear(ffn_dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        xavier_matrices(self.linear1)
        xavier_matrices(self.linear2)

    def forward(
        self, x: Tensor, position: Tensor, reference: Tensor, sizes: list[tuple[int, int]]
    ) -> Tensor:
        """One layer over tokens (T, S, C) with position (S, C) and reference points (S, 2)."""
        read = self.self_attn(x + position, reference, x, sizes)
        x = self.norm1(x + read)
        return self.norm2(x + self.linear2(F.relu_(self.linear1(x))))


class NormConv(nn.Conv2d):
    """Convolution without bias, size kept, with group normalisation inside it as `.norm`."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False
        )
        self.norm = _norm(out_channels)
        c2_xavier_fill(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(super().forward(x))


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(NORM_GROUPS, channels)


def _tokens(image: Tensor) -> Tensor:
    """(..., C, h, w) -> (..., h w, C)."""
    return image.flatten(-2).mT


def _split(
    input_shape: Mapping[str, ShapeSpec], transformer_features: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Names for the encoder, coarsest first, and for the FPN, finest first."""
    missing = set(transformer_features) - set(input_shape)
    if missing:
        raise ValueError(f"the backbone has no {sorted(missing)}, only {sorted(input_shape)}")
    by_stride = sorted(input_shape, key=lambda name: input_shape[name].stride)
    fine = [name for name in by_stride if name not in transformer_features]
    coarse = [name for name in reversed(by_stride) if name in transformer_features]
    if by_stride[: len(fine)] != fine:
        raise ValueError(f"{fine} must be finer than the encoder's maps {coarse}")
    return coarse, fine
