"""Appearance of a masked region (paper Eq. 3)."""

from __future__ import annotations

from torch import Tensor

from dvis_daq.layers.precision import at_least_float32, no_autocast

EPS = 1e-8  # an empty mask has the mean zero


def mask_pool(features: Tensor, masks: Tensor) -> Tensor:
    """Mean feature over the foreground of each mask, as one matrix product.

    Half precision is cast up, because sums over a whole map leave its range.

    Args:
        features: (D, h, w).
        masks: (N, h, w) logits; foreground where positive. No gradient goes through them.

    Returns:
        (N, D); zeros for an empty mask.

    Raises:
        ValueError: features and masks are of different height or width.
    """
    if features.shape[1:] != masks.shape[1:]:
        raise ValueError(
            f"features {tuple(features.shape)} and masks {tuple(masks.shape)} differ in (h, w)"
        )
    features = at_least_float32(features).flatten(1)  # (D, hw)
    inside = (masks > 0).flatten(1).to(features.dtype)  # (N, hw)
    with no_autocast(features):
        return inside @ features.T / (inside.sum(-1, keepdim=True) + EPS)
