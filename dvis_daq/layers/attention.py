"""Attention blocks of the query decoder, the trackers and the refiner.

All are post-norm residual blocks, x = LN(x + f(x)), without dropout, and take any leading
axes: (T, Q, C) in the segmenter, (N, C) in a tracker. N = 0 rows are allowed everywhere.
Parameter names below a block are the released ones.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dvis_daq.layers.initial import xavier_matrices


class MultiheadAttention(nn.Module):
    """`torch.nn.MultiheadAttention` for any leading axes and no rows at all; same parameters.

    Args:
        dim: C, width of queries, keys and values.
        heads: number of heads, a divisor of C.

    Raises:
        ValueError: `heads` does not divide `dim`.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"attention of width {dim} cannot be split into {heads} heads")
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.zeros_(self.out_proj.bias)
        xavier_matrices(self)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, blocked: Tensor | None = None
    ) -> Tensor:
        """Attends.

        Args:
            query: (..., N, C).
            key, value: (..., S, C).
            blocked: bool, broadcastable to (..., N, S), or (S,); True hides a key. A query
                with every key hidden has no defined output.

        Returns:
            (..., N, C).
        """
        q, k, v = (
            x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)
            for x in self._project(query, key, value)
        )  # (..., heads, N or S, C / heads)
        visible = None if blocked is None else ~torch.atleast_2d(blocked).unsqueeze(-3)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=visible)
        return self.out_proj(mixed.transpose(-3, -2).flatten(-2))

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
        """Queries, keys and values of the heads; what is read more than once is multiplied once."""
        weight, bias, dim = self.in_proj_weight, self.in_proj_bias, self.out_proj.in_features
        inputs = [query]
        widths = [dim]
        for x in (key, value):
            if x is inputs[-1]:
                widths[-1] += dim
            else:
                inputs.append(x)
                widths.append(dim)
        projected = map(F.linear, inputs, weight.split(widths), bias.split(widths))
        return [part for x in projected for part in x.split(dim, dim=-1)]


class SelfAttention(nn.Module):
    """x = LN(x + MHA(x + position, x + position, x))."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.self_attn = MultiheadAttention(dim, heads)
        self.norm = nn.LayerNorm(dim)

    def forward(
        self, x: Tensor, position: Tensor | None = None, blocked: Tensor | None = None
    ) -> Tensor:
        """Lets the rows of `x`, (..., N, C), see each other.

        Args:
            x: (..., N, C), `position` likewise.
            blocked: bool, broadcastable to (..., N, N), or (N,); True hides a row.
        """
        query = _add(x, position)
        return self.norm(x + self.self_attn(query, query, x, blocked))


class CrossAttention(nn.Module):
    """x = LN(x + MHA(x + position, memory + memory_position, memory))."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.multihead_attn = MultiheadAttention(dim, heads)
        self.norm = nn.LayerNorm(dim)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        *,
        position: Tensor | None = None,
        memory_position: Tensor | None = None,
        blocked: Tensor | None = None,
    ) -> Tensor:
        """Lets the rows of `x` read the memory.

        Args:
            x: (..., N, C), `position` likewise.
            memory: (..., S, C), `memory_position` likewise.
            blocked: bool, broadcastable to (..., N, S), or (S,); True hides memory.

        Returns:
            (..., N, C).
        """
        key = _add(memory, memory_position)
        return self.norm(x + self.multihead_attn(_add(x, position), key, memory, blocked))


class FeedForward(nn.Module):
    """x = LN(x + W2 relu(W1 x))."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(dim, hidden)
        self.linear2 = nn.Linear(hidden, dim)
        self.norm = nn.LayerNorm(dim)
        xavier_matrices(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + self.linear2(F.relu_(self.linear1(x))))


class MLP(nn.Module):
    """Linear layers of the given widths with ReLU between them, none after the last."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(itertools.starmap(nn.Linear, itertools.pairwise(widths)))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.relu_(layer(x))
        return self.layers[-1](x)


# Similarities (..., N, M) of rows and anchors -> what each anchor gets of a row, 0..1
Shares = Callable[[Tensor], Tensor]


def shares_of_queries(logits: Tensor) -> Tensor:
    """Q-dim of Tab. A4a: the anchors share each row, so they compete; the paper's choice."""
    return logits.softmax(dim=-1)


def shares_of_keys(logits: Tensor) -> Tensor:
    """K-dim: each anchor looks for itself, as in standard attention."""
    return logits.softmax(dim=-2)


class QuerySoftmaxAttention(nn.Module):
    """Cross-attention of tracker 2, whose softmax runs over the queries (paper Sec. 3.2).

    Every row first reads the candidates by ordinary attention. What it has read then competes
    for the disappearance anchors: with the softmax along the anchors no two of them can claim
    the same candidate (Tab. A4a); `shares` may take the softmax along the rows instead.
    """

    def __init__(self, dim: int, heads: int, shares: Shares = shares_of_queries) -> None:
        super().__init__()
        self.multihead_attn = MultiheadAttention(dim, heads)
        self.slot_attn = AnchorAssignment(dim, shares)
        self.norm = nn.LayerNorm(dim)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        *,
        position: Tensor,
        anchors: Tensor,
        blocked: Tensor | None = None,
        absent: Tensor | None = None,
    ) -> Tensor:
        """Updates N rows, one for each anchor.

        Args:
            x: (..., N, C) state of the rows.
            memory: (..., S, C) the candidates.
            position: (..., N, C) added to `x` in the query of the ordinary attention.
            anchors: (..., N, C) embeddings that compete for what was read.
            blocked: bool (S,) or broadcastable to (..., N, S); True hides a candidate.
            absent: bool (N,), rows whose anchors do not compete, and which give nothing.

        Returns:
            (..., N, C).
        """
        read = self.multihead_attn(x + position, memory, memory, blocked)
        share = self.slot_attn(x + read, anchors, absent)
        return self.norm(x + torch.einsum("...nm,...nc->...mc", share, read))


class AnchorAssignment(nn.Module):
    """Shares N rows out among M anchors (`shares`), then takes a mean over the rows."""

    EPS = 1e-6  # keeps the mean defined for an anchor that gets nothing

    def __init__(self, dim: int, shares: Shares = shares_of_queries) -> None:
        super().__init__()
        self.shares = shares
        self.norm_inputs = nn.LayerNorm(dim)
        self.project_q = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim, bias=False))
        self.project_k = nn.Linear(dim, dim, bias=False)
        xavier_matrices(self)

    def forward(self, rows: Tensor, anchors: Tensor, absent: Tensor | None = None) -> Tensor:
        """Weights (..., N, M) of the rows (..., N, C) for the anchors (..., M, C); sum_n = 1.

        `absent`, bool (N,) with N = M, leaves out rows and their anchors.
        """
        key = self.project_k(self.norm_inputs(rows))
        query = self.project_q(anchors)
        logits = torch.einsum("...nc,...mc->...nm", key, query) / math.sqrt(key.shape[-1])
        if absent is not None:  # finite, so that a row of nothing else has a softmax
            hidden = absent | absent[:, None]
            logits = logits.masked_fill(hidden, torch.finfo(logits.dtype).min)
        share = self.shares(logits) + self.EPS
        if absent is not None:
            share = share.masked_fill(absent[:, None], 0)
        return share / share.sum(dim=-2, keepdim=True)


def _add(x: Tensor, position: Tensor | None) -> Tensor:
    return x if position is None else x + position
