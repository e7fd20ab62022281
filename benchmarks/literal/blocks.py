"""Blocks as functions of a table of weights under their released names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

HEADS = 8


@dataclass(frozen=True)
class Weights:
    """The weights under a prefix."""

    values: Mapping[str, Tensor]
    prefix: str = ""

    def __getitem__(self, name: str) -> Tensor:
        return self.values[self.prefix + name]

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self.values

    def at(self, name: str) -> Weights:
        """The weights of a part."""
        return Weights(self.values, f"{self.prefix}{name}.")

    def get(self, name: str) -> Tensor | None:
        return self.values.get(self.prefix + name)

    def layers(self, name: str) -> list[Weights]:
        """The weights of each of the numbered parts `name`."""
        start = f"{self.prefix}{name}."
        numbers = {key[len(start) :].split(".")[0] for key in self.values if key.startswith(start)}
        return [self.at(f"{name}.{number}") for number in range(len(numbers))]


def linear(w: Weights, x: Tensor) -> Tensor:
    return F.linear(x, w["weight"], w.get("bias"))


def norm(w: Weights, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], w["weight"], w["bias"])


def group_norm(w: Weights, x: Tensor) -> Tensor:
    return F.group_norm(x, 32, w["weight"], w["bias"])


def mlp(w: Weights, x: Tensor) -> Tensor:
    layers = w.layers("layers")
    for layer in layers[:-1]:
        x = F.relu(linear(layer, x))
    return linear(layers[-1], x)


def attend(
    w: Weights, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> Tensor:
    """`nn.MultiheadAttention` of (N, B, C) with its default, the averaged weights."""
    return F.multi_head_attention_forward(
        query,
        key,
        value,
        query.shape[-1],
        HEADS,
        w["in_proj_weight"],
        w["in_proj_bias"],
        None,
        None,
        False,
        0.0,
        w["out_proj.weight"],
        w["out_proj.bias"],
        training=False,
        attn_mask=mask,
        need_weights=True,
    )[0]


def cross_attention(
    w: Weights,
    x: Tensor,
    memory: Tensor,
    *,
    position: Tensor | None = None,
    memory_position: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    query = x if position is None else x + position
    key = memory if memory_position is None else memory + memory_position
    return norm(w.at("norm"), x + attend(w.at("multihead_attn"), query, key, memory, mask))


def self_attention(w: Weights, x: Tensor, position: Tensor | None = None) -> Tensor:
    query = x if position is None else x + position
    return norm(w.at("norm"), x + attend(w.at("self_attn"), query, query, x))


def feed_forward(w: Weights, x: Tensor) -> Tensor:
    return norm(w.at("norm"), x + linear(w.at("linear2"), F.relu(linear(w.at("linear1"), x))))


def sine_position(maps: Tensor, width: int) -> Tensor:
    """(B, width, h, w) position of maps (B, ., h, w)."""
    ones = torch.ones_like(maps[:, 0])
    channel = torch.arange(width // 2, dtype=maps.dtype)
    period = 10_000 ** (2 * torch.div(channel, 2, rounding_mode="floor") / (width // 2))
    parts = []
    for axis in (1, 2):
        place = ones.cumsum(axis)
        place = place / (place.select(axis, -1).unsqueeze(axis) + 1e-6) * 2 * math.pi
        angle = place[..., None] / period
        waves = torch.stack([angle[..., 0::2].sin(), angle[..., 1::2].cos()], dim=-1)
        parts.append(waves.flatten(3))
    return torch.cat(parts, dim=3).permute(0, 3, 1, 2)


def deformable_attention(
    w: Weights, query: Tensor, reference: Tensor, memory: Tensor, sizes: list[tuple[int, int]]
) -> Tensor:
    """One `grid_sample` a level, all samples kept until they are weighted at the end."""
    frames, tokens, width = query.shape
    levels, points = len(sizes), 4
    value = linear(w.at("value_proj"), memory).view(frames, -1, HEADS, width // HEADS)
    offsets = linear(w.at("sampling_offsets"), query)
    offsets = offsets.view(frames, tokens, HEADS, levels, points, 2)
    weights = linear(w.at("attention_weights"), query)
    weights = weights.view(frames, tokens, HEADS, levels * points).softmax(-1)
    scale = torch.tensor([[width, height] for height, width in sizes], dtype=query.dtype)
    places = reference[None, :, None, None, None] + offsets / scale[:, None]
    grids = 2 * places - 1
    maps = value.split([height * width for height, width in sizes], dim=1)
    samples = []
    for level, (height, width) in enumerate(sizes):
        image = maps[level].flatten(2).transpose(1, 2).reshape(frames * HEADS, -1, height, width)
        grid = grids[:, :, :, level].transpose(1, 2).flatten(0, 1)
        samples.append(F.grid_sample(image, grid, align_corners=False))  # (T heads, d, Q, points)
    weights = weights.transpose(1, 2).reshape(frames * HEADS, 1, tokens, levels * points)
    mixed = (torch.stack(samples, dim=-2).flatten(-2) * weights).sum(-1)
    mixed = mixed.view(frames, -1, tokens).transpose(1, 2).contiguous()
    return linear(w.at("output_proj"), mixed)
