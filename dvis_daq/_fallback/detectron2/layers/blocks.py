"""The base of a block of a convolutional network."""

from __future__ import annotations

from torch import nn

from detectron2.layers.batch_norm import FrozenBatchNorm2d

__all__ = ["CNNBlockBase"]


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
