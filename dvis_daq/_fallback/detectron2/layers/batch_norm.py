"""Normalisation layers by name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["FrozenBatchNorm2d", "get_norm"]


class FrozenBatchNorm2d(nn.Module):
    """Batch norm whose statistics and affine values never change.

    Args:
        num_features: channels.
        eps: added to the variance.
    """

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.register_buffer("weight", torch.ones(num_features))
        self.register_buffer("bias", torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features) - eps)  # identity at start

    def forward(self, x: Tensor) -> Tensor:
        """Normalises `x`, (N, C, H, W)."""
        if x.requires_grad:  # two cheap operations; batch_norm would keep more for backward
            scale = self.weight * (self.running_var + self.eps).rsqrt()
            shift = self.bias - self.running_mean * scale
            return x * scale.to(x.dtype)[:, None, None] + shift.to(x.dtype)[:, None, None]
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )

    def __repr__(self) -> str:
        return f"FrozenBatchNorm2d(num_features={self.num_features}, eps={self.eps})"

    @classmethod
    def convert_frozen_batchnorm(cls, module: nn.Module) -> nn.Module:
        """Replaces every batch norm below `module`, and returns the module."""
        if isinstance(module, (nn.BatchNorm2d, nn.SyncBatchNorm)):
            frozen = cls(module.num_features, module.eps)
            state = module.state_dict()
            frozen.load_state_dict({name: state[name] for name in frozen.state_dict()})
            return frozen.to(module.running_mean.device)
        for name, child in module.named_children():
            setattr(module, name, cls.convert_frozen_batchnorm(child))
        return module


class _LayerNorm(nn.Module):
    """Layer norm over the channels of a map.

    Args:
        normalized_shape: channels.
        eps: added to the variance.
    """

    def __init__(self, normalized_shape: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(normalized_shape))
        self.bias = nn.Parameter(torch.zeros(normalized_shape))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalises `x`, (N, C, H, W), over C."""
        last = F.layer_norm(
            x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, self.eps
        )
        return last.permute(0, 3, 1, 2)  # (N, C, H, W)


_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "BN": nn.BatchNorm2d,
    "SyncBN": nn.SyncBatchNorm,
    "nnSyncBN": nn.SyncBatchNorm,
    "FrozenBN": FrozenBatchNorm2d,
    "GN": lambda channels: nn.GroupNorm(32, channels),
    "LN": _LayerNorm,
}


def get_norm(norm: str | Callable[[int], nn.Module] | None, out_channels: int) -> nn.Module | None:
    """Makes a norm.

    Args:
        norm: one of BN, SyncBN, nnSyncBN, FrozenBN, GN (32 groups) and LN, or a function of the
            number of channels; None or '' for no norm.
        out_channels: number of channels.

    Raises:
        KeyError: no norm of this name.
    """
    if not norm:
        return None
    return (_NORMS[norm] if isinstance(norm, str) else norm)(out_channels)
