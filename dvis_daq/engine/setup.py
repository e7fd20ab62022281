"""The beginning of a program: log files, seeds, threads, the model, readable errors."""

from __future__ import annotations

import argparse
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.engine import default_setup
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.modeling import build_model as build_registered
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger
from torch import nn

from dvis_daq.config import ConfigError

_PACKAGE = Path(__file__).resolve().parents[1]


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
        ConfigError: no such recipe, or no such device.
    """
    name = cfg.MODEL.META_ARCHITECTURE
    if name not in META_ARCH_REGISTRY:
        ours = ", ".join(n for n, made in META_ARCH_REGISTRY if "dvis_daq" in made.__module__)
        raise ConfigError(f"MODEL.META_ARCHITECTURE is {name!r}; choose one of {ours}")
    if cfg.MODEL.DEVICE != "cpu" and not torch.cuda.is_available():
        raise ConfigError(
            f"MODEL.DEVICE is {cfg.MODEL.DEVICE!r}, but there is no GPU; set MODEL.DEVICE cpu"
        )
    return build_registered(cfg)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Bad input ends the program with its message instead of a traceback.

    Errors that this package raises on purpose, and those of the file system. An error from
    inside another library keeps its traceback: it says nothing without it.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        origin = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        if type(error) is ValueError and _PACKAGE not in origin.parents:
            raise
        raise SystemExit(f"error: {error}") from None
