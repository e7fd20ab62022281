"""Multi-scale deformable attention in plain PyTorch, with a Triton kernel on GPUs.

The sampling itself is a function argument, `Sampler`: a compiled kernel with the same
signature plugs in there. Two exact formulations are kept because each wins its half
(`benchmarks/deformable_attention.py`): bags of table rows when no gradient is wanted,
`grid_sample` for each level when one is. On a GPU with Triton installed its kernel
(`deformable_triton.py`) does both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dvis_daq.layers.precision import (
    at_least_float32,
    half_range,
    no_autocast,
    without_float16,
)

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
        """Reads the maps around each query's reference point.

        Places, weights and sums are float32 at least; under autocast to bfloat16 (and not to
        float16) the projections of values and result are not.

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
        query = at_least_float32(query)
        with half_range(query):
            value = self.value_proj(without_float16(memory))
            value = value.unflatten(-1, (heads, -1))  # (T, S, heads, d)
        with no_autocast(query):
            places, weights = self._look(query, reference, sizes)
            mixed = self.sampler(value, sizes, places, weights)
        with half_range(query):
            return self.output_proj(mixed)

    def _look(self, query: Tensor, reference: Tensor, sizes: Sizes) -> tuple[Tensor, Tensor]:
        """Places and weights as `Sampler` wants them.

        Queries come last because all that follows is a function of a single place: the inner
        loops run over long rows, and the softmax over rows side by side.
        """
        size = query.new_tensor([[w, h] for h, w in sizes])  # (levels, xy)
        centre = reference.T.contiguous() * size[..., None] - 0.5  # (levels, xy, Q) pixels
        heads, levels, points = self.layout
        places = _rows(self.sampling_offsets, query).unflatten(1, (*self.layout, 2))
        places += centre[:, None]
        weights = _rows(self.attention_weights, query).unflatten(1, (heads, levels * points))
        return places, weights.softmax(2).unflatten(2, (levels, points))


def _rows(linear: nn.Linear, query: Tensor) -> Tensor:
    """(T, N, Q) what `linear` makes of the queries (T, Q, C)."""
    # on a CPU the product of rows is faster, with the transposing after it, than that of columns
    return F.linear(query, linear.weight).mT.contiguous().add_(linear.bias[:, None])


def pixel_centres(sizes: Sizes, like: Tensor) -> Tensor:
    """(S, 2) centres (x, y) in 0..1 of the pixels of all maps, row-major, map after map.

    On the device of `like` and in its precision, but in float32 at least.
    """
    dtype = torch.promote_types(like.dtype, torch.float32)
    maps = []
    for height, width in sizes:
        y = (torch.arange(height, dtype=dtype, device=like.device) + 0.5) / height
        x = (torch.arange(width, dtype=dtype, device=like.device) + 0.5) / width
        maps.append(torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).flatten(0, 1))
    return torch.cat(maps)


def sample_values(value: Tensor, sizes: Sizes, places: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of bilinear samples, zero outside a map; the default `Sampler`.

    Args:
        value: (T, S, heads, d) tokens of all maps, perhaps in half precision.
        sizes: (h, w) of each map.
        places: (T, heads, levels, points, 2, Q), x and y in pixels of the map, whose first
            pixel has its centre at 0.
        weights: (T, heads, levels, points, Q).

    Returns:
        (T, Q, heads * d) with the dtype of the weights.
    """
    if value.is_cuda and find_spec("triton") is not None:
        from dvis_daq.layers.deformable_triton import sample_by_triton

        return sample_by_triton(value, sizes, places, weights)
    sampler = sample_by_grid if torch.is_grad_enabled() else sample_by_bags
    return sampler(value.to(weights.dtype), sizes, places, weights)


def sample_by_grid(value: Tensor, sizes: Sizes, places: Tensor, weights: Tensor) -> Tensor:
    """`sample_values` by one `grid_sample` for each level; the faster one to differentiate."""
    frames, _, heads, _ = value.shape
    maps = value.permute(0, 2, 3, 1).flatten(0, 1).split([h * w for h, w in sizes], dim=-1)
    pixel = 2 / places.new_tensor([[w, h] for h, w in sizes])[:, None, :, None]
    grids = torch.addcmul(pixel / 2 - 1, places, pixel).mT  # (T, heads, levels, points, Q, 2)
    total = value.new_zeros(())
    for level, size in enumerate(sizes):
        image = maps[level].unflatten(-1, size)  # (T heads, d, h, w)
        grid = grids[:, :, level].flatten(0, 1)  # x and y apart is the layout it reads fastest
        samples = F.grid_sample(image, grid, align_corners=False)  # (T heads, d, points, Q)
        total = total + (samples * weights[:, :, level].flatten(0, 1)[:, None]).sum(dim=2)
    return total.unflatten(0, (frames, heads)).permute(0, 3, 1, 2).flatten(2)


def sample_by_bags(value: Tensor, sizes: Sizes, places: Tensor, weights: Tensor) -> Tensor:
    """`sample_values` by one weighted `embedding_bag` over all levels; the faster one forwards.

    A query of a head is a bag of rows of the value table: four corners for each point.
    No gradient goes through it.
    """
    frames, _, heads, width = value.shape
    table = _with_border(value, sizes)  # (T, S', heads, d)
    rows, shares = _corners(sizes, places, weights)  # (T, heads, levels, points, 4, Q)
    frame = torch.arange(frames, device=rows.device, dtype=rows.dtype) * table.shape[1]
    head = torch.arange(heads, device=rows.device, dtype=rows.dtype)
    rows.add_(frame.view(-1, *[1] * 5)).mul_(heads).add_(head.view(-1, *[1] * 4))
    out = F.embedding_bag(
        _bags(rows),
        table.view(-1, width),
        per_sample_weights=_bags(shares),
        mode="sum",
    )
    return out.view(frames, -1, heads * width)


def _bags(corners: Tensor) -> Tensor:
    """(T Q heads, levels * points * 4) of (T, heads, levels, points, 4, Q)."""
    each = corners.shape[2:5].numel()
    return corners.flatten(1, 4).mT.reshape(-1, each)


def _with_border(value: Tensor, sizes: Sizes) -> Tensor:
    """Maps with zeros around them: one row and column before, two behind; (T, S', heads, d).

    A corner outside the map is then a zero of the table and needs no mask.
    """
    areas = [(h + 3) * (w + 3) for h, w in sizes]
    table = value.new_zeros(len(value), sum(areas), *value.shape[2:])
    maps = value.split([h * w for h, w in sizes], dim=1)
    for image, (h, w), padded in zip(maps, sizes, table.split(areas, dim=1), strict=True):
        padded.unflatten(1, (h + 3, w + 3))[:, 1:-2, 1:-2] = image.unflatten(1, (h, w))
    return table


def _corners(sizes: Sizes, places: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Rows in the bordered maps, int32, and shares, both (T, heads, levels, points, 4, Q)."""
    size = places.new_tensor([[w, h] for h, w in sizes])[:, None, :, None]  # (levels, 1, xy, 1)
    pixel = places.maximum(torch.full_like(size, -1)).minimum(size)
    low = pixel.floor()
    dx, dy = pixel.sub_(low).unbind(-2)
    shape = (*weights.shape[:-1], 4, weights.shape[-1])
    shares = weights.new_empty(shape)
    upper_left, upper_right, lower_left, lower_right = shares.unbind(-2)
    lower = torch.mul(weights, dy)
    upper = weights - lower
    torch.mul(upper, dx, out=upper_right)
    torch.mul(lower, dx, out=lower_right)
    torch.sub(upper, upper_right, out=upper_left)
    torch.sub(lower, lower_right, out=lower_left)

    areas = torch.tensor([0, *((h + 3) * (w + 3) for h, w in sizes)]).cumsum(0)[:-1]
    stride = torch.tensor([w + 3 for _, w in sizes])
    first = (areas + stride + 1).to(low.device, torch.int32)[:, None, None]  # of pixel (0, 0)
    stride = stride.to(low.device, torch.int32)[:, None, None]
    x, y = low.to(torch.int32).unbind(-2)
    corner = y * stride + x + first
    rows = corner.new_empty(shape)
    rows[..., 0, :] = corner
    torch.add(corner, 1, out=rows[..., 1, :])
    torch.add(corner, stride, out=rows[..., 2, :])
    torch.add(corner, stride + 1, out=rows[..., 3, :])
    return rows, shares
