"""Multi-scale deformable attention in plain PyTorch.

The sampling itself is a function argument, `Sampler`: a compiled kernel with the same
signature plugs in there. Two exact formulations are kept because each wins its half
(`benchmarks/deformable_attention.py`): bags of table rows when no gradient is wanted,
`grid_sample` for each level when one is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dvis_daq.layers.precision import at_least_float32, no_autocast

Sizes = Sequence[tuple[int, int]]  # (h, w) of each level
Sampler = Callable[[Tensor, Sizes, Tensor, Tensor], Tensor]  # see sample_values


class MSDeformableAttention(nn.Module):
    """Every token reads a few learned places of several maps (Deformable DETR).

    Args:
        dim: C, width of queries and values.
        heads: a divisor of C; head n reads channels n C / heads onwards.
        levels: number of maps.
        points: places a head reads in each map.
        sampler: the weighted sampling; default the plain PyTorch one.

    Raises:
        ValueError: `heads` does not divide `dim`.
    """

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 8,
        levels: int = 3,
        points: int = 4,
        sampler: Sampler | None = None,
    ) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"attention of width {dim} cannot be split into {heads} heads")
        self.layout = (heads, levels, points)
        self.sampler = sampler or sample_values
        self.sampling_offsets = nn.Linear(dim, heads * levels * points * 2)
        self.attention_weights = nn.Linear(dim, heads * levels * points)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Each head starts looking in its own direction, point i at i + 1 pixels."""
        heads, levels, points = self.layout
        nn.init.zeros_(self.sampling_offsets.weight)
        angle = torch.arange(heads) * (2 * math.pi / heads)
        direction = torch.stack([angle.cos(), angle.sin()], dim=-1)  # (heads, xy)
        direction = direction / direction.abs().amax(-1, keepdim=True)
        distance = torch.arange(1, points + 1)[:, None]
        offsets = (direction[:, None, None] * distance).expand(heads, levels, points, 2)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.flatten())
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)

    def forward(self, query: Tensor, reference: Tensor, memory: Tensor, sizes: Sizes) -> Tensor:
        """Reads the maps around each query's reference point, in float32 at least.

        Args:
            query: (T, Q, C).
            reference: (Q, 2) points (x, y) in 0..1, the same in every map.
            memory: (T, S, C) tokens of all maps, row-major, one map after the other.
            sizes: (h, w) of each map; S is the sum of their areas.

        Returns:
            (T, Q, C).

        Raises:
            ValueError: `memory` has another number of tokens than `sizes` tells.
        """
        heads, levels, points = self.layout
        if len(sizes) != levels or sum(h * w for h, w in sizes) != memory.shape[1]:
            raise ValueError(
                f"memory {tuple(memory.shape)} is not made of {levels} maps of sizes {list(sizes)}"
            )
        with no_autocast(query):
            query, memory = at_least_float32(query), at_least_float32(memory)
            value = self.value_proj(memory).unflatten(-1, (heads, -1))  # (T, S, heads, d)
            offsets = self.sampling_offsets(query).unflatten(-1, (heads, levels, points, 2))
            weights = self.attention_weights(query).unflatten(-1, (heads, levels * points))
            weights = weights.softmax(-1).unflatten(-1, (levels, points))
            pixel = 1 / query.new_tensor([[w, h] for h, w in sizes])[:, None]  # (levels, 1, xy)
            places = reference[:, None, None, None] + offsets * pixel
            return self.output_proj(self.sampler(value, sizes, places, weights))


def pixel_centres(sizes: Sizes, like: Tensor) -> Tensor:
    """(S, 2) centres (x, y) in 0..1 of the pixels of all maps, row-major, map after map."""
    maps = []
    for height, width in sizes:
        y = (torch.arange(height, dtype=like.dtype, device=like.device) + 0.5) / height
        x = (torch.arange(width, dtype=like.dtype, device=like.device) + 0.5) / width
        maps.append(torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).flatten(0, 1))
    return torch.cat(maps)


def sample_values(value: Tensor, sizes: Sizes, places: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of bilinear samples, zero outside a map; the default `Sampler`.

    Args:
        value: (T, S, heads, d) tokens of all maps.
        sizes: (h, w) of each map.
        places: (T, Q, heads, levels, points, 2), (x, y) in 0..1 inside a map.
        weights: (T, Q, heads, levels, points).

    Returns:
        (T, Q, heads * d).
    """
    sampler = sample_by_grid if torch.is_grad_enabled() else sample_by_bags
    return sampler(value, sizes, places, weights)


def sample_by_grid(value: Tensor, sizes: Sizes, places: Tensor, weights: Tensor) -> Tensor:
    """`sample_values` by one `grid_sample` for each level; the faster one to differentiate."""
    frames, _, heads, _ = value.shape
    # Queries last: the innermost loops then run over long rows.
    grids = (2 * places - 1).permute(3, 0, 2, 4, 1, 5).flatten(1, 2)  # (levels, T heads, P, Q, 2)
    weights = weights.permute(3, 0, 2, 4, 1).flatten(1, 2)  # (levels, T heads, P, Q)
    maps = value.permute(0, 2, 3, 1).flatten(0, 1).split([h * w for h, w in sizes], dim=-1)
    total = value.new_zeros(())
    for level, size in enumerate(sizes):
        image = maps[level].unflatten(-1, size)  # (T heads, d, h, w)
        samples = F.grid_sample(image, grids[level], align_corners=False)  # (T heads, d, P, Q)
        total = total + (samples * weights[level][:, None]).sum(dim=2)
    return total.unflatten(0, (frames, heads)).permute(0, 3, 1, 2).flatten(2)


def sample_by_bags(value: Tensor, sizes: Sizes, places: Tensor, weights: Tensor) -> Tensor:
    """`sample_values` by one weighted `embedding_bag` over all levels; the faster one forwards.

    A query of a head is a bag of rows of the value table: four corners for each point.
    """
    frames, _, heads, width = value.shape
    table = _with_border(value, sizes)  # (T, S', heads, d)
    rows, shares = _corners(sizes, places, weights)
    frame = torch.arange(frames, device=rows.device, dtype=rows.dtype) * table.shape[1]
    head = torch.arange(heads, device=rows.device, dtype=rows.dtype)
    rows = (rows + frame.view(-1, *[1] * 5)) * heads + head.view(-1, *[1] * 3)
    out = F.embedding_bag(
        rows.flatten(3).flatten(0, 2),
        table.reshape(-1, width),
        per_sample_weights=shares.flatten(3).flatten(0, 2),
        mode="sum",
    )
    return out.view(frames, -1, heads * width)


def _with_border(value: Tensor, sizes: Sizes) -> Tensor:
    """Maps with zeros around them: one row and column before, two behind; (T, S', heads, d).

    A corner outside the map is then a zero of the table and needs no mask.
    """
    maps = value.split([h * w for h, w in sizes], dim=1)
    padded = (
        F.pad(image.unflatten(1, size), (0, 0, 0, 0, 1, 2, 1, 2)).flatten(1, 2)
        for image, size in zip(maps, sizes, strict=True)
    )
    return torch.cat(list(padded), dim=1)


def _corners(sizes: Sizes, places: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Rows in the bordered maps, int32, and shares, both (T, Q, heads, levels, points, 4)."""
    size = places.new_tensor([[w, h] for h, w in sizes])[:, None]  # (levels, 1, xy)
    pixel = (places * size - 0.5).maximum(places.new_tensor(-1.0)).minimum(size)
    low = pixel.floor()
    dx, dy = (pixel - low).unbind(-1)
    lower = weights * dy
    lower_right, upper = lower * dx, weights - lower
    upper_right = upper * dx
    shares = [upper - upper_right, upper_right, lower - lower_right, lower_right]

    areas = torch.tensor([0, *((h + 3) * (w + 3) for h, w in sizes)]).cumsum(0)[:-1]
    stride = torch.tensor([w + 3 for _, w in sizes])
    first = (areas + stride + 1).to(low.device, torch.int32)[:, None]  # row of pixel (0, 0)
    stride = stride.to(low.device, torch.int32)[:, None]
    x, y = low.to(torch.int32).unbind(-1)
    corner = first + y * stride + x
    rows = [corner, corner + 1, corner + stride, corner + stride + 1]
    return torch.stack(rows, dim=-1), torch.stack(shares, dim=-1)
