"""The beginning of a program: log files, seeds, threads, the model."""

from __future__ import annotations

import argparse

import torch
from detectron2.config import CfgNode
from detectron2.engine import default_setup
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY
from detectron2.modeling import build_model as build_registered
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger
from torch import nn

from dvis_daq.config import ConfigError


def setup(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Opens `log.txt`, writes `config.yaml` into OUTPUT_DIR, seeds, sets the threads.

    Args:
        cfg: the whole configuration.
        args: the command line, which is logged.
    """
    if cfg.CPU_THREADS > 0:
        torch.set_num_threads(cfg.CPU_THREADS)
    default_setup(cfg, args)
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="dvis_daq")


def build_model(cfg: CfgNode) -> nn.Module:
    """The recipe `MODEL.META_ARCHITECTURE`, built and moved to `MODEL.DEVICE`.

    Raises:
        ConfigError: no such recipe, backbone or device.
    """
    name = cfg.MODEL.META_ARCHITECTURE
    if name not in META_ARCH_REGISTRY:
        ours = ", ".join(n for n, made in META_ARCH_REGISTRY if "dvis_daq" in made.__module__)
        raise ConfigError(f"MODEL.META_ARCHITECTURE is {name!r}; choose one of {ours}")
    backbone = cfg.MODEL.BACKBONE.NAME
    if cfg.MODEL.SEGMENTER == "mask2former" and backbone not in BACKBONE_REGISTRY:
        known = ", ".join(name for name, _ in BACKBONE_REGISTRY)
        raise ConfigError(f"MODEL.BACKBONE.NAME is {backbone!r}; choose one of {known}")
    if cfg.MODEL.DEVICE != "cpu" and not torch.cuda.is_available():
        raise ConfigError(
            f"MODEL.DEVICE is {cfg.MODEL.DEVICE!r}, but there is no GPU; set MODEL.DEVICE cpu"
        )
    return build_registered(cfg)
