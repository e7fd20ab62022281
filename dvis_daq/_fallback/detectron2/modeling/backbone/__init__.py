"""Backbones."""

from detectron2._subset import absent_names
from detectron2.modeling.backbone.backbone import Backbone
from detectron2.modeling.backbone.build import BACKBONE_REGISTRY, build_backbone
from detectron2.modeling.backbone.resnet import (
    ResNet,
    build_resnet_backbone,
)

__all__ = [
    "BACKBONE_REGISTRY",
    "Backbone",
    "ResNet",
    "build_backbone",
    "build_resnet_backbone",
]

__getattr__ = absent_names(__name__)
