"""Frozen normalisation folded into the convolutions before it, for inference alone."""

from __future__ import annotations

import torch
from detectron2.layers import FrozenBatchNorm2d
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


@torch.no_grad()
def fold_frozen_norms(module: nn.Module) -> int:
    """Gives convolutions the scale and shift of the frozen `norm` that follows them.

    It changes `module`, which computes the same as before and does not fit checkpoints any more.

    Returns:
        How many were folded.
    """
    convolutions = [
        conv
        for conv in module.modules()
        if isinstance(conv, nn.Conv2d)
        and isinstance(getattr(conv, "norm", None), FrozenBatchNorm2d)
    ]
    for conv in convolutions:
        norm = conv.norm
        conv.weight, conv.bias = fuse_conv_bn_weights(
            conv.weight,
            conv.bias,
            norm.running_mean,
            norm.running_var,
            norm.eps,
            norm.weight,
            norm.bias,
        )
        conv.norm = None
    return len(convolutions)
