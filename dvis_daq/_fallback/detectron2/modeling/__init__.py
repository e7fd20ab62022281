"""Registries of models and backbones, and the ResNets."""

from detectron2._subset import absent_names
from detectron2.layers import ShapeSpec
from detectron2.modeling.backbone import (
    BACKBONE_REGISTRY,
    Backbone,
    ResNet,
    build_backbone,
    build_resnet_backbone,
)
from detectron2.modeling.meta_arch import META_ARCH_REGISTRY, build_model

__all__ = [
    "BACKBONE_REGISTRY",
    "META_ARCH_REGISTRY",
    "Backbone",
    "ResNet",
    "ShapeSpec",
    "build_backbone",
    "build_model",
    "build_resnet_backbone",
]

__getattr__ = absent_names(__name__)
