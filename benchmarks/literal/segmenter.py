"""Mask2Former with a ResNet-50, all frames of a window at once, every prediction decoded."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.literal.blocks import (
    HEADS,
    Weights,
    cross_attention,
    deformable_attention,
    feed_forward,
    group_norm,
    linear,
    mlp,
    norm,
    self_attention,
    sine_position,
)


class Segmented(NamedTuple):
    """Outputs for T frames."""

    embeds: Tensor  # (T, Q, C)
    logits: Tensor  # (T, Q, K + 1)
    masks: Tensor  # (T, Q, h, w)
    mask_features: Tensor  # (T, C, h, w)


def segment(w: Weights, images: Tensor, mean: Tensor, std: Tensor) -> Segmented:
    """`images` (T, 3, H, W), 0..255."""
    images = torch.stack([(image.to(mean) - mean) / std for image in images])
    bottom, right = (-size % 32 for size in images.shape[-2:])
    maps = resnet(w.at("backbone"), F.pad(images, (0, right, 0, bottom)))
    mask_features, levels = decode_pixels(w.at("sem_seg_head.pixel_decoder"), maps)
    return decode_queries(w.at("sem_seg_head.predictor"), mask_features, levels)


def resnet(w: Weights, x: Tensor) -> dict[str, Tensor]:
    x = F.relu(_conv_norm(w.at("stem.conv1"), x, stride=2, padding=3))
    x = F.max_pool2d(x, 3, stride=2, padding=1)
    maps = {}
    for name in ("res2", "res3", "res4", "res5"):
        for index, block in enumerate(w.layers(name)):
            stride = 2 if index == 0 and name != "res2" else 1
            y = F.relu(_conv_norm(block.at("conv1"), x))
            y = F.relu(_conv_norm(block.at("conv2"), y, stride=stride, padding=1))
            y = _conv_norm(block.at("conv3"), y)
            if "shortcut.weight" in block:
                x = _conv_norm(block.at("shortcut"), x, stride=stride)
            x = F.relu(x + y)
        maps[name] = x
    return maps


def _conv_norm(w: Weights, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    """Convolution, then the frozen normalisation as an operation of its own."""
    x = F.conv2d(x, w["weight"], stride=stride, padding=padding)
    n = w.at("norm")
    return F.batch_norm(x, n["running_mean"], n["running_var"], n["weight"], n["bias"], eps=1e-5)


def decode_pixels(w: Weights, maps: dict[str, Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Mask features, and the three levels, coarsest first."""
    sources, positions = [], []
    for index, name in enumerate(("res5", "res4", "res3")):
        projection = w.at(f"input_proj.{index}")
        x = F.conv2d(maps[name], projection["0.weight"], projection["0.bias"])
        sources.append(group_norm(projection.at("1"), x))
        positions.append(sine_position(maps[name], x.shape[1]))
    levels = _encode(w.at("transformer"), sources, positions)
    y = group_norm(w.at("adapter_1.norm"), F.conv2d(maps["res2"], w["adapter_1.weight"]))
    y = y + F.interpolate(levels[-1], y.shape[-2:], mode="bilinear", align_corners=False)
    y = F.conv2d(y, w["layer_1.weight"], padding=1)
    y = F.relu(group_norm(w.at("layer_1.norm"), y))
    return F.conv2d(y, w["mask_features.weight"], w["mask_features.bias"]), levels


def _encode(w: Weights, sources: list[Tensor], positions: list[Tensor]) -> list[Tensor]:
    sizes = [(x.shape[2], x.shape[3]) for x in sources]
    x = torch.cat([source.flatten(2).transpose(1, 2) for source in sources], dim=1)
    rows = w["level_embed"]
    pairs = zip(positions, rows, strict=True)
    position = torch.cat([p.flatten(2).transpose(1, 2) + row for p, row in pairs], dim=1)
    reference = torch.cat([_centres(*size) for size in sizes]).to(x.dtype)
    for layer in w.layers("encoder.layers"):
        read = deformable_attention(layer.at("self_attn"), x + position, reference, x, sizes)
        x = norm(layer.at("norm1"), x + read)
        hidden = F.relu(linear(layer.at("linear1"), x))
        x = norm(layer.at("norm2"), x + linear(layer.at("linear2"), hidden))
    pieces = x.split([height * width for height, width in sizes], dim=1)
    pairs = zip(pieces, sizes, strict=True)
    return [piece.transpose(1, 2).reshape(len(x), -1, *size) for piece, size in pairs]


def _centres(height: int, width: int) -> Tensor:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([(x + 0.5) / width, (y + 0.5) / height], dim=-1).flatten(0, 1)


def decode_queries(w: Weights, mask_features: Tensor, levels: list[Tensor]) -> Segmented:
    memories = [
        (level.flatten(2) + w["level_embed.weight"][i][:, None]).permute(2, 0, 1)
        for i, level in enumerate(levels)
    ]  # (S, T, C)
    places = [sine_position(level, level.shape[1]).flatten(2).permute(2, 0, 1) for level in levels]
    frames = len(mask_features)
    x = w["query_feat.weight"][:, None].repeat(1, frames, 1)  # (Q, T, C)
    position = w["query_embed.weight"][:, None].repeat(1, frames, 1)
    outputs = [_predict(w, x, mask_features, levels[0])]
    layers = zip(
        w.layers("transformer_cross_attention_layers"),
        w.layers("transformer_self_attention_layers"),
        w.layers("transformer_ffn_layers"),
        strict=True,
    )
    for index, (cross, own, ffn) in enumerate(layers):
        blocked = outputs[-1][3]
        blocked[blocked.sum(-1) == blocked.shape[-1]] = False
        x = cross_attention(
            cross,
            x,
            memories[index % 3],
            position=position,
            memory_position=places[index % 3],
            mask=blocked,
        )
        x = feed_forward(ffn, self_attention(own, x, position))
        outputs.append(_predict(w, x, mask_features, levels[(index + 1) % 3]))
    embeds, logits, masks, _ = outputs[-1]
    return Segmented(embeds, logits, masks, mask_features)


def _predict(
    w: Weights, x: Tensor, mask_features: Tensor, level: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Embeddings, logits, masks, and the attention mask (T heads, Q, S) of the next layer."""
    embeds = norm(w.at("decoder_norm"), x).transpose(0, 1)  # (T, Q, C)
    logits = linear(w.at("class_embed"), embeds)
    masks = torch.einsum("tqc,tchw->tqhw", mlp(w.at("mask_embed"), embeds), mask_features)
    small = F.interpolate(masks, level.shape[-2:], mode="bilinear", align_corners=False)
    blocked = small.sigmoid().flatten(2)[:, None].repeat(1, HEADS, 1, 1).flatten(0, 1) < 0.5
    return embeds, logits, masks, blocked.detach()
