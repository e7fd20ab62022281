"""Frozen normalisation folded into the convolutions before it, for inference alone."""

from __future__ import annotations

import torch
from detectron2.layers import FrozenBatchNorm2d
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


@torch.no_grad()
def fold_frozen_norms(module: nn.Module, *, dtype: torch.dtype = torch.float32) -> int:
    """Gives convolutions the scale and shift of the frozen `norm` that follows them.

    It changes `module`, which computes the same as before and does not fit checkpoints any more.

    Args:
        module: with `detectron2.layers.Conv2d` inside, as in Detectron2's ResNet.
        dtype: in which the convolutions will run under autocast; weights in half precision are
            then kept, so that they need not be cast for every frame. Float32 keeps them as
            they are.

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
        kept = conv.weight.dtype if dtype is torch.float32 else dtype
        conv.to(dtype=kept, memory_format=torch.channels_last)
    return len(convolutions)
