"""The model that a configuration names."""

from __future__ import annotations

import torch
from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.modeling import build_model as build_registered
from torch import nn

from dvis_daq.config import ConfigError


def build_model(cfg: CfgNode) -> nn.Module:
    """The recipe `MODEL.META_ARCHITECTURE`, built and moved to `MODEL.DEVICE`.

    Raises:
        ConfigError: no such recipe, or no such device.
    """
    name = cfg.MODEL.META_ARCHITECTURE
    if name not in META_ARCH_REGISTRY:
        ours = ", ".join(n for n, made in META_ARCH_REGISTRY if "dvis_daq" in made.__module__)
        raise ConfigError(f"MODEL.META_ARCHITECTURE is {name!r}; choose one of {ours}")
    if not cfg.MODEL.DEVICE.startswith("cpu") and not torch.cuda.is_available():
        raise ConfigError(
            f"MODEL.DEVICE is {cfg.MODEL.DEVICE!r}, but there is no GPU; set MODEL.DEVICE cpu"
        )
    return build_registered(cfg)
