"""Feature transition gap: how far an anchor query is from what it turns into (Tab. A3).

The paper defines the gap in words. Cosine similarity and the distance below reproduce the
relation between the two columns of its table; what counts as an event, and which queries are
its anchor and its target, is the caller's choice.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F


class TransitionGap(NamedTuple):
    """The gap of E events."""

    cosine: Tensor  # (E,) CS, -1..1, larger is closer
    distance: Tensor  # (E,) NED, 0..1, smaller is closer


def transition_gap(anchors: Tensor, features: Tensor) -> TransitionGap:
    """Measures the gap of each event.

    NED = |a - b| / (|a| + |b|), the form that agrees with the paper's figures: for equal norms
    it is sqrt((1 - CS) / 2).

    Args:
        anchors: (E, C) queries given to the tracker: a disappearance or emergence anchor, or a
            static one.
        features: (E, C) the same queries after the transition.

    Raises:
        ValueError: anchors and features differ in shape.
    """
    if anchors.shape != features.shape or anchors.dim() != 2:
        raise ValueError(
            f"anchors {tuple(anchors.shape)} and features {tuple(features.shape)} "
            "must both be (E, C)"
        )
    norms = anchors.norm(dim=-1) + features.norm(dim=-1)
    distance = (anchors - features).norm(dim=-1) / norms.clamp(min=1e-12)
    return TransitionGap(F.cosine_similarity(anchors, features, dim=-1), distance)
