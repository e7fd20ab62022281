"""Convolution, norms and the description of a feature map."""

from detectron2._subset import absent_names
from detectron2.layers.batch_norm import FrozenBatchNorm2d, get_norm
from detectron2.layers.blocks import CNNBlockBase
from detectron2.layers.shape_spec import ShapeSpec
from detectron2.layers.wrappers import Conv2d

__all__ = ["CNNBlockBase", "Conv2d", "FrozenBatchNorm2d", "ShapeSpec", "get_norm"]

__getattr__ = absent_names(__name__)
