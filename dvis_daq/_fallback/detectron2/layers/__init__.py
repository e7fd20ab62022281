"""Convolution, norms and the description of a feature map."""

from detectron2._subset import absent_names
from detectron2.layers.blocks import CNNBlockBase, Conv2d, ShapeSpec
from detectron2.layers.norm import FrozenBatchNorm2d, LayerNorm, get_norm

__all__ = [
    "CNNBlockBase",
    "Conv2d",
    "FrozenBatchNorm2d",
    "LayerNorm",
    "ShapeSpec",
    "get_norm",
]

__getattr__ = absent_names(__name__)
