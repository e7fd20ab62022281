"""Whole models by name."""

from __future__ import annotations

import torch
from torch import nn

from detectron2.config import CfgNode
from detectron2.utils.registry import Registry

__all__ = ["META_ARCH_REGISTRY", "build_model"]

META_ARCH_REGISTRY = Registry("META_ARCH")  # callables of cfg that return a module


def build_model(cfg: CfgNode) -> nn.Module:
    """Builds `cfg.MODEL.META_ARCHITECTURE` on `cfg.MODEL.DEVICE`; loads no weights."""
    model = META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)(cfg)
    return model.to(torch.device(cfg.MODEL.DEVICE))
