"""Mask head D of Eq. 1: from query features to classes and masks."""

from __future__ import annotations

from torch import Tensor, nn

from dvis_daq.layers.attention import MLP
from dvis_daq.structures import MaskProducts, Predictions


class MaskHead(nn.Module):
    """Normalises queries and reads a class and a mask off each.

    Args:
        hidden_dim: C, width of the queries.
        num_classes: K; one logit for background is added, the last.
        mask_dim: D, width of the mask features.
    """

    def __init__(self, hidden_dim: int, num_classes: int, mask_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden_dim)
        self.class_embed = nn.Linear(hidden_dim, num_classes + 1)
        self.mask_embed = MLP(hidden_dim, hidden_dim, hidden_dim, mask_dim)

    def forward(
        self, x: Tensor, mask_features: Tensor, projection: nn.Conv2d | None = None
    ) -> Predictions:
        """Predicts for L layers of N queries at once.

        Args:
            x: (L, N, C) query features before normalisation.
            mask_features: (T, D, h, w).
            projection: 1x1 convolution that the mask features pass first, see `mask_products`.

        Returns:
            Class logits (L, N, K + 1) and mask logits (L, N, T, h, w); in training the masks are
            products, made of the rows that are asked for.
        """
        x = self.norm(x)
        masks = mask_products(self.mask_embed(x), mask_features, projection)
        return Predictions(self.class_embed(x), masks if self.training else masks.dense())


def mask_products(
    embeds: Tensor, features: Tensor, projection: nn.Conv2d | None = None
) -> MaskProducts:
    """Masks of features, perhaps after a 1x1 convolution: e (W f + b) = (e W) f + e b.

    The weights are applied to the embeddings, because there are fewer of them than pixels.

    Args:
        embeds: (L, N, D).
        features: (T, D', h, w).
        projection: D' to D channels, with bias; None where D' = D.
    """
    if projection is None:
        return MaskProducts(embeds, features)
    assert projection.bias is not None
    offset = (embeds * projection.bias).sum(-1)
    return MaskProducts(embeds @ projection.weight.flatten(1), features, offset)
