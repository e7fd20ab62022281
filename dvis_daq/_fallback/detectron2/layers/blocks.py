"""A convolution with norm and activation, the base of a block, the shape of a map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from detectron2.layers.norm import FrozenBatchNorm2d

__all__ = ["CNNBlockBase", "Conv2d", "ShapeSpec"]


@dataclass
class ShapeSpec:
    """What is known of a feature map before it exists."""

    channels: int | None = None
    height: int | None = None
    width: int | None = None
    stride: int | None = None  # pixels of the image per cell


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d` followed by an optional norm and activation.

    Args:
        *args: as for `torch.nn.Conv2d`.
        norm: module applied to the result.
        activation: function applied last.
        **kwargs: as for `torch.nn.Conv2d`; the bias is not switched off by a norm.
    """

    def __init__(
        self,
        *args: Any,
        norm: nn.Module | None = None,
        activation: Callable[[Tensor], Tensor] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.norm = norm
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to (N, C', H', W')."""
        x = super().forward(x)
        if self.norm is not None:
            x = self.norm(x)
        return x if self.activation is None else self.activation(x)


class CNNBlockBase(nn.Module):
    """A block that knows its channels and its stride.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        stride: of the whole block.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.stride = stride

    def freeze(self) -> CNNBlockBase:
        """Makes the block constant: no gradients, frozen batch norms. Returns the block."""
        for parameter in self.parameters():
            parameter.requires_grad = False
        FrozenBatchNorm2d.convert_frozen_batchnorm(self)
        return self
