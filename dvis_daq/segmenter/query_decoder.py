"""Query decoder: learned queries read the frame by masked attention (Mask2Former).

Parameter names are the released ones.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dvis_daq.layers import (
    MLP,
    CrossAttention,
    FeedForward,
    SelfAttention,
    c2_xavier_fill,
    sine_position_2d,
)
from dvis_daq.segmenter.pixel_decoder import PixelFeatures
from dvis_daq.structures import FrameOutputs


class QueryDecoder(nn.Module):
    """Turns Q learned queries into the candidates of each frame (Q_Seg of Eq. 1).

    Args:
        in_channels: width of the pixel decoder's levels.
        hidden_dim: C, width of the queries.
        mask_dim: D, width of the mask features.
        num_queries: Q.
        num_classes: K.
        num_levels: levels of the pixel decoder; layer i reads level i mod num_levels.
        num_layers: decoder layers.
        heads: of all attention.
        ffn_dim: hidden width of the feed-forward blocks.
        reid: re-identification head, (..., C) -> (..., any), or None (CTVIS).
        deep: last layers that are handed on when not being trained (GenVIS: several).
        pixel_features: hand on the map that the mask features are made of (GenVIS).
    """

    def __init__(
        self,
        in_channels: int = 256,
        *,
        hidden_dim: int = 256,
        mask_dim: int = 256,
        num_queries: int = 100,
        num_classes: int,
        num_levels: int = 3,
        num_layers: int = 9,
        heads: int = 8,
        ffn_dim: int = 2048,
        reid: nn.Module | None = None,
        deep: int = 1,
        pixel_features: bool = False,
    ) -> None:
        super().__init__()
        self.input_proj = nn.ModuleList(
            _projection(in_channels, hidden_dim) for _ in range(num_levels)
        )
        self.level_embed = nn.Embedding(num_levels, hidden_dim)
        self.query_feat = nn.Embedding(num_queries, hidden_dim)
        self.query_embed = nn.Embedding(num_queries, hidden_dim)

        layers = range(num_layers)
        self.transformer_cross_attention_layers = nn.ModuleList(
            CrossAttention(hidden_dim, heads) for _ in layers
        )
        self.transformer_self_attention_layers = nn.ModuleList(
            SelfAttention(hidden_dim, heads) for _ in layers
        )
        self.transformer_ffn_layers = nn.ModuleList(
            FeedForward(hidden_dim, ffn_dim) for _ in layers
        )
        self.decoder_norm = nn.LayerNorm(hidden_dim)
        self.class_embed = nn.Linear(hidden_dim, num_classes + 1)
        self.mask_embed = MLP(hidden_dim, hidden_dim, hidden_dim, mask_dim)
        self.reid_embed = reid
        self.deep = deep
        self.pixel_features = pixel_features

    @property
    def num_queries(self) -> int:
        return self.query_feat.num_embeddings

    @property
    def num_classes(self) -> int:
        return self.class_embed.out_features - 1

    @property
    def hidden_dim(self) -> int:
        return self.query_feat.embedding_dim

    def forward(self, features: PixelFeatures) -> FrameOutputs:
        """Decodes T frames.

        In training mode all layers are decoded at full resolution, else the last `deep` ones;
        the deep outputs are filled where that is more than one.
        """
        memories = [self._memory(level, features) for level in range(len(self.input_proj))]
        layers = zip(
            self.transformer_cross_attention_layers,
            self.transformer_self_attention_layers,
            self.transformer_ffn_layers,
            strict=True,
        )
        x = self.query_feat.weight.expand(len(features.mask_features), -1, -1)  # (T, Q, C)
        position = self.query_embed.weight
        normed = [self.decoder_norm(x)]
        mask_embeds = [self.mask_embed(normed[-1])]
        for index, (cross_attention, self_attention, ffn) in enumerate(layers):
            memory = memories[index % len(memories)]
            x = cross_attention(
                x,
                memory.tokens,
                position=position,
                memory_position=memory.position,
                blocked=memory.blocked(mask_embeds[-1]),
            )
            x = ffn(self_attention(x, position))
            normed.append(self.decoder_norm(x))
            mask_embeds.append(self.mask_embed(normed[-1]))
        decoded = slice(None) if self.training else slice(-self.deep, None)
        return self._outputs(x, normed[decoded], mask_embeds[decoded], features)

    def _memory(self, level: int, features: PixelFeatures) -> Memory:
        image = self.input_proj[level](features.levels[level])
        size = image.shape[-2:]
        position = sine_position_2d(*size, self.hidden_dim, dtype=image.dtype, device=image.device)
        small = F.interpolate(
            features.mask_features.detach(), size, mode="bilinear", align_corners=False
        )
        return Memory(
            tokens=image.flatten(2).mT + self.level_embed.weight[level],
            position=position.flatten(1).mT,
            mask_features=small.flatten(2),
        )

    def _outputs(
        self, x: Tensor, normed: list[Tensor], mask_embeds: list[Tensor], features: PixelFeatures
    ) -> FrameOutputs:
        """Predictions of the given layers, of which the last is the result."""
        embeds = torch.stack(normed)  # (L, T, Q, C)
        logits = self.class_embed(embeds)  # (L, T, Q, K + 1)
        masks = torch.einsum("ltqd,tdhw->ltqhw", torch.stack(mask_embeds), features.mask_features)
        several = len(embeds) > 1
        return FrameOutputs(
            embeds=normed[-1],
            logits=logits[-1],
            masks=masks[-1],
            mask_features=features.mask_features,
            initial_queries=self.query_feat.weight,
            query_positions=self.query_embed.weight,
            raw_embeds=x,
            reid=None if self.reid_embed is None else self.reid_embed(normed[-1]),
            pixel_features=features.finest if self.pixel_features else None,
            deep_logits=logits if several else None,
            deep_masks=masks if several else None,
            deep_embeds=embeds if several else None,
        )


class Memory(NamedTuple):
    """One level of the frames as the queries read it; S = h_l w_l."""

    tokens: Tensor  # (T, S, C)
    position: Tensor  # (S, C)
    mask_features: Tensor  # (T, D, S), the stride-4 features at this level's size

    def blocked(self, mask_embeds: Tensor) -> Tensor:
        """(T, Q, S) bool, outside of the predicted masks; an empty mask blocks nothing.

        Resizing is linear, so masks of the resized features are the resized masks, without
        making them at stride 4 first. The decision has no gradient.
        """
        with torch.no_grad():
            outside = mask_embeds @ self.mask_features < 0
            return outside & ~outside.all(dim=-1, keepdim=True)


def reid_head(dim: int, *, hidden_dim: int = 256, num_layers: int = 3) -> MLP:
    """The re-identification head of CTVIS, a plain MLP that keeps the width `dim`."""
    head = MLP(dim, *[hidden_dim] * (num_layers - 1), dim)
    for layer in head.layers:
        c2_xavier_fill(layer)
    return head


def _projection(in_channels: int, hidden_dim: int) -> nn.Module:
    """1x1 convolution where the widths differ; released models have none."""
    if in_channels == hidden_dim:
        return nn.Identity()
    projection = nn.Conv2d(in_channels, hidden_dim, 1)
    c2_xavier_fill(projection)
    return projection
