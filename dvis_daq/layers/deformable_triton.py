"""Multi-scale deformable attention as a Triton kernel, forwards and backwards, for GPUs.

One program samples for a block of queries of one head: it reads each corner of each point as a
row of channels and keeps the sum in registers, so that nothing is materialised between places
and result. Values may be in half precision; all arithmetic is in the precision of the weights,
float32 in a model. Import it only where Triton is installed (`sample_values` looks).
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from dvis_daq.layers.deformable_attention import Sizes

BLOCK = 64  # queries a program


def sample_by_triton(value: Tensor, sizes: Sizes, places: Tensor, weights: Tensor) -> Tensor:
    """`deformable_attention.sample_values` on a GPU; the result has the dtype of the weights."""
    areas = torch.tensor([h * w for h, w in sizes])
    starts = (areas.cumsum(0) - areas).tolist()
    maps = [[h, w, start] for (h, w), start in zip(sizes, starts, strict=True)]
    layout = torch.tensor(maps, dtype=torch.int32, device=value.device)  # (levels, 3)
    return _Sampling.apply(value, layout, places, weights)


class _Sampling(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, layout: Tensor, places: Tensor, weights: Tensor) -> Tensor:
        value, places, weights = (x.contiguous() for x in (value, places, weights))
        ctx.save_for_backward(value, layout, places, weights)
        frames, tokens, heads, width = value.shape
        queries = weights.shape[-1]
        out = weights.new_empty(frames, queries, heads, width)
        _forward[_grid(value, weights)](
            value,
            layout,
            places,
            weights,
            out,
            tokens,
            queries,
            heads,
            **_constants(weights, width),
        )
        return out.flatten(2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:
        value, layout, places, weights = ctx.saved_tensors
        frames, tokens, heads, width = value.shape
        # Many queries add to one token: by atomic additions, which half precision lacks.
        grad_value = torch.zeros_like(value, dtype=weights.dtype)
        grad_places, grad_weights = torch.empty_like(places), torch.empty_like(weights)
        _backward[_grid(value, weights)](
            value,
            layout,
            places,
            weights,
            grad.contiguous(),
            grad_value,
            grad_places,
            grad_weights,
            tokens,
            weights.shape[-1],
            heads,
            **_constants(weights, width),
        )
        return grad_value.to(value.dtype), None, grad_places, grad_weights


def _grid(value: Tensor, weights: Tensor) -> tuple[int, int, int]:
    return triton.cdiv(weights.shape[-1], BLOCK), value.shape[2], value.shape[0]


def _constants(weights: Tensor, width: int) -> dict[str, Any]:
    return {
        "LEVELS": weights.shape[2],
        "POINTS": weights.shape[3],
        "WIDTH": width,
        "COLUMNS": triton.next_power_of_2(width),
        "ROWS": BLOCK,
        "REAL": tl.float64 if weights.dtype is torch.float64 else tl.float32,
    }


@triton.jit
def _corner(value, base, row, column, height, width, heads, columns, used, WIDTH, REAL):
    """Rows of channels at a pixel of each query; zeros outside of the map."""
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width) & used
    token = tl.where(inside, row * width + column, 0)
    where = base + token[:, None] * (heads * WIDTH) + columns[None]
    keep = inside[:, None] & (columns < WIDTH)[None]
    return tl.load(value + where, mask=keep, other=0.0).to(REAL), where, keep


@triton.jit
def _forward(
    value,
    layout,
    places,
    weights,
    out,
    tokens,
    queries,
    heads,
    LEVELS: tl.constexpr,
    POINTS: tl.constexpr,
    WIDTH: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
    REAL: tl.constexpr,
):
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    head, frame = tl.program_id(1), tl.program_id(2).to(tl.int64)
    columns = tl.arange(0, COLUMNS)
    used = rows < queries
    total = tl.zeros((ROWS, COLUMNS), dtype=REAL)
    for level in range(LEVELS):
        height = tl.load(layout + 3 * level)
        width = tl.load(layout + 3 * level + 1)
        base = ((frame * tokens + tl.load(layout + 3 * level + 2)) * heads + head) * WIDTH
        for point in range(POINTS):
            index = ((frame * heads + head) * LEVELS + level) * POINTS + point
            x = tl.load(places + 2 * index * queries + rows, mask=used, other=-9.0)
            y = tl.load(places + (2 * index + 1) * queries + rows, mask=used, other=-9.0)
            weight = tl.load(weights + index * queries + rows, mask=used, other=0.0)
            # Far outside nothing is read; clamped, because its integer may not exist.
            x = tl.minimum(tl.maximum(x, -9.0), width + 9.0)
            y = tl.minimum(tl.maximum(y, -9.0), height + 9.0)
            left, top = tl.floor(x), tl.floor(y)
            dx, dy = x - left, y - top
            column, row = left.to(tl.int32), top.to(tl.int32)
            for corner in tl.static_range(4):
                share_x = dx if corner % 2 else 1 - dx
                share_y = dy if corner // 2 else 1 - dy
                read, _, _ = _corner(
                    value, base, row + corner // 2, column + corner % 2, height, width, heads,
                    columns, used, WIDTH, REAL,
                )  # fmt: skip
                total += (weight * share_x * share_y)[:, None] * read
    where = ((frame * queries + rows[:, None]) * heads + head) * WIDTH + columns[None]
    tl.store(out + where, total, mask=used[:, None] & (columns < WIDTH)[None])


@triton.jit
def _backward(
    value,
    layout,
    places,
    weights,
    grad,
    grad_value,
    grad_places,
    grad_weights,
    tokens,
    queries,
    heads,
    LEVELS: tl.constexpr,
    POINTS: tl.constexpr,
    WIDTH: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
    REAL: tl.constexpr,
):
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    head, frame = tl.program_id(1), tl.program_id(2).to(tl.int64)
    columns = tl.arange(0, COLUMNS)
    used = rows < queries
    where = ((frame * queries + rows[:, None]) * heads + head) * WIDTH + columns[None]
    wanted = tl.load(grad + where, mask=used[:, None] & (columns < WIDTH)[None], other=0.0)
    for level in range(LEVELS):
        height = tl.load(layout + 3 * level)
        width = tl.load(layout + 3 * level + 1)
        base = ((frame * tokens + tl.load(layout + 3 * level + 2)) * heads + head) * WIDTH
        for point in range(POINTS):
            index = ((frame * heads + head) * LEVELS + level) * POINTS + point
            x = tl.load(places + 2 * index * queries + rows, mask=used, other=-9.0)
            y = tl.load(places + (2 * index + 1) * queries + rows, mask=used, other=-9.0)
            weight = tl.load(weights + index * queries + rows, mask=used, other=0.0)
            x = tl.minimum(tl.maximum(x, -9.0), width + 9.0)
            y = tl.minimum(tl.maximum(y, -9.0), height + 9.0)
            left, top = tl.floor(x), tl.floor(y)
            dx, dy = x - left, y - top
            column, row = left.to(tl.int32), top.to(tl.int32)
            along_weight = tl.zeros((ROWS,), dtype=REAL)
            along_x = tl.zeros((ROWS,), dtype=REAL)
            along_y = tl.zeros((ROWS,), dtype=REAL)
            for corner in tl.static_range(4):
                share_x = dx if corner % 2 else 1 - dx
                share_y = dy if corner // 2 else 1 - dy
                read, target, keep = _corner(
                    value, base, row + corner // 2, column + corner % 2, height, width, heads,
                    columns, used, WIDTH, REAL,
                )  # fmt: skip
                agreed = tl.sum(read * wanted, axis=1)
                along_weight += share_x * share_y * agreed
                along_x += share_y * agreed if corner % 2 else -share_y * agreed
                along_y += share_x * agreed if corner // 2 else -share_x * agreed
                pushed = (weight * share_x * share_y)[:, None] * wanted
                tl.atomic_add(grad_value + target, pushed, mask=keep)
            tl.store(grad_weights + index * queries + rows, along_weight, mask=used)
            tl.store(grad_places + 2 * index * queries + rows, weight * along_x, mask=used)
            tl.store(grad_places + (2 * index + 1) * queries + rows, weight * along_y, mask=used)
