"""What a backbone is: a map from an image to named feature maps."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod

from torch import Tensor, nn

from detectron2.layers import ShapeSpec

__all__ = ["Backbone"]


class Backbone(nn.Module, metaclass=ABCMeta):
    """Subclasses set the three attributes below, which `output_shape` reports."""

    _out_features: list[str]
    _out_feature_channels: dict[str, int]
    _out_feature_strides: dict[str, int]

    @abstractmethod
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Maps images (N, C, H, W) to feature maps by name."""

    @property
    def size_divisibility(self) -> int:
        """Height and width must be multiples of this; 0 for no demand."""
        return 0

    @property
    def padding_constraints(self) -> dict[str, int]:
        """For `ImageList.from_tensors`."""
        return {}

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of each feature map."""
        return {
            name: ShapeSpec(
                channels=self._out_feature_channels[name], stride=self._out_feature_strides[name]
            )
            for name in self._out_features
        }
