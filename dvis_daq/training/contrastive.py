"""The contrastive loss on a set of items, shared by CTVIS and DVIS++.

An item asks one embedding, the anchor, to be closer to its positives than to its negatives.
Which embeddings these are, is what the methods differ in; what they cost, is said here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from dvis_daq.layers.precision import at_least_float32, no_autocast
from dvis_daq.structures import Assignment


class ContrastiveItem(NamedTuple):
    """One anchor, what it should resemble, and what it should not.

    Gradient flows into all three; detach what must not learn.
    """

    anchor: Tensor  # (C,)
    positives: Tensor  # (P, C), P >= 1
    negatives: Tensor  # (N, C), N >= 0


class ContrastiveLosses(NamedTuple):
    """Two unweighted losses: of items (I,) each, or their means ()."""

    contrastive: Tensor
    auxiliary: Tensor

    def named(self, weight: float, auxiliary_weight: float) -> dict[str, Tensor]:
        """Weighted, under the released names; an auxiliary weight of 0 leaves that loss out."""
        losses = {"loss_reid": weight * self.contrastive}
        if auxiliary_weight:
            losses["loss_aux_reid"] = auxiliary_weight * self.auxiliary
        return losses


def item_losses(items: Sequence[ContrastiveItem]) -> ContrastiveLosses:
    """The two losses of each of I items, (I,) each, at least one item.

    contrastive: log(1 + sum over all pairs (p, n) of exp(a.n - a.p)), plain dot products.
    auxiliary: mean over positives and negatives of (cos(a, x) - y)^2, y = 1 for a positive.
    """
    losses = [_item_loss(item) for item in items]
    return ContrastiveLosses(*(torch.stack(of_items) for of_items in zip(*losses, strict=True)))


def contrastive_losses(
    items: Sequence[ContrastiveItem], *, embeddings: Sequence[Tensor]
) -> ContrastiveLosses:
    """Means of `item_losses` over the items of all clips on this GPU, () each.

    Args:
        items: of all clips; none is allowed.
        embeddings: what the items were made from. Without items the losses are zeros that keep
            their graph: DistributedDataParallel wants a gradient for every trained parameter.
    """
    if not items:
        zero = torch.stack([0 * at_least_float32(x).sum() for x in embeddings]).sum()
        return ContrastiveLosses(zero, zero)
    return ContrastiveLosses(*(losses.mean() for losses in item_losses(items)))


def pairs_before_last(matches: Sequence[Assignment]) -> Assignment:
    """The pairs that DVIS++ makes its items from, given those of each layer.

    As released, where layers are matched one by one, it is not the last layer's but the one
    before it, which the released code matches last.
    """
    return matches[max(len(matches) - 2, 0)]


def _item_loss(item: ContrastiveItem) -> ContrastiveLosses:
    """() each."""
    anchor, positives, negatives = (at_least_float32(x) for x in item)
    with no_autocast(anchor):  # dot products of long embeddings leave the range of half
        # log(1 + sum_pn exp(a.n - a.p)) = log(1 + sum_n exp(a.n) sum_p exp(-a.p))
        pairs = (negatives @ anchor).logsumexp(0) + (-positives @ anchor).logsumexp(0)
        others = torch.cat([positives, negatives])
        cosine = F.cosine_similarity(others, anchor[None], dim=-1)
    wanted = torch.zeros_like(cosine)
    wanted[: len(positives)] = 1
    return ContrastiveLosses(F.softplus(pairs), F.mse_loss(cosine, wanted))
