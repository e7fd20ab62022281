"""The two trackers of DVIS-DAQ, frame by frame, every layer decoded."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from benchmarks.literal.blocks import (
    Weights,
    attend,
    cross_attention,
    feed_forward,
    linear,
    mlp,
    norm,
    self_attention,
)

CHUNK = 50  # masks pooled at once


class Said(NamedTuple):
    """What a tracker says of R rows in L layers of a frame."""

    logits: Tensor  # (L, R, K + 1)
    masks: Tensor  # (L, R, h, w)
    embeds: Tensor  # (R, C), last layer, not normalised


def pool(masks: Tensor, features: Tensor) -> Tensor:
    """(N, C) mean of features (C, h, w) inside of masks (N, h, w), in chunks of 50."""
    pooled = []
    for start in range(0, len(masks), CHUNK):
        inside = masks[start : start + CHUNK].sigmoid() > 0.5
        inside = inside.to(features)[:, None]  # (n, 1, h, w)
        total = (inside * features[None]).sum((2, 3))
        pooled.append(total / (inside.sum((2, 3)) + 1e-8))
    return torch.cat(pooled)


def appearance(w: Weights, masks: Tensor, features: Tensor) -> Tensor:
    """(N, C) of masks (N, h, w); the masks get no gradient."""
    return mlp(w.at("pos_embed"), pool(masks.detach(), features))


def predict(w: Weights, layers: list[Tensor], features: Tensor) -> Said:
    """Predictions of layers (R, C) on the projected mask features (C, h, w)."""
    logits, masks = [], []
    for x in layers:
        x = norm(w.at("decoder_norm"), x)
        logits.append(linear(w.at("class_embed"), x))
        masks.append(torch.einsum("nc,chw->nhw", mlp(w.at("mask_embed"), x), features))
    return Said(torch.stack(logits), torch.stack(masks), layers[-1])


def emergence(
    w: Weights,
    x: Tensor,
    candidates: Tensor,
    position: Tensor | None = None,
    candidate_position: Tensor | None = None,
) -> list[Tensor]:
    """Tracker 1: the input and the output of each layer, (R, C)."""
    outputs = [x]
    layers = zip(
        w.layers("transformer_cross_attention_layers"),
        w.layers("transformer_self_attention_layers"),
        w.layers("transformer_ffn_layers"),
        strict=True,
    )
    x, candidates = x[:, None], candidates[:, None]
    for cross, own, ffn in layers:
        x = cross_attention(
            cross,
            x,
            candidates,
            position=None if position is None else position[:, None],
            memory_position=None if candidate_position is None else candidate_position[:, None],
        )
        x = feed_forward(ffn, self_attention(own, x))
        outputs.append(x[:, 0])
    return outputs


def disappearance(
    w: Weights,
    tracks: Tensor,
    momentum: Tensor,
    candidates: Tensor,
    initial: Tensor,
    hidden: Tensor | None = None,
) -> list[Tensor]:
    """Tracker 2: the output of each layer, (N + S, C)."""
    background = w["bg_slots.weight"]
    rows = torch.cat([tracks, background])
    rivals = torch.cat([momentum, background])
    x = initial[nearest(rows, initial)]
    mask = None if hidden is None else hidden[None].expand(len(rows), -1)
    outputs = []
    layers = zip(w.layers("slot_cross_attention_layers"), w.layers("slot_ffn_layers"), strict=True)
    for layer, ffn in layers:
        slot = layer.at("slot_attn")
        memory = candidates[:, None]
        read = attend(layer.at("multihead_attn"), (x + rows)[:, None], memory, memory, mask)[:, 0]
        key = linear(slot.at("project_k"), norm(slot.at("norm_inputs"), x + read))
        query = linear(slot.at("project_q.1"), norm(slot.at("project_q.0"), rivals))
        share = (key @ query.T / math.sqrt(key.shape[-1])).softmax(dim=1) + 1e-6
        share = share / share.sum(dim=0, keepdim=True)
        x = norm(layer.at("norm"), x + share.T @ read)
        x = feed_forward(ffn, x[:, None])[:, 0]
        outputs.append(x)
    return outputs


@torch.no_grad()
def nearest(rows: Tensor, initial: Tensor) -> Tensor:
    """(R,) learned query of each row, one to one as far as it goes."""
    rows = rows / (rows.norm(dim=1, keepdim=True) + 1e-6)
    initial = initial / (initial.norm(dim=1, keepdim=True) + 1e-6)
    cost = (1 - rows @ initial.T).cpu()
    found = cost.argmin(1)
    for row, column in zip(*linear_sum_assignment(cost), strict=True):
        found[row] = int(column)
    return found


def projected(w: Weights, features: Tensor) -> Tensor:
    """(C, h, w) mask features as both trackers read them."""
    part = w.at("mask_feature_proj")
    return F.conv2d(features[None], part["weight"], part["bias"])[0]
