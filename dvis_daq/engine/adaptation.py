"""A model made ready for training on this hardware; none of it changes names of weights."""

from __future__ import annotations

import functools
import logging
import os
import shutil
import sys
from collections import Counter

import torch
import torch.distributed as dist
from detectron2.config import CfgNode
from detectron2.utils import comm
from timm.layers import convert_sync_batchnorm
from torch import nn
from torch.utils.checkpoint import checkpoint

from dvis_daq.config import ConfigError
from dvis_daq.freed_memory import keep_freed_memory
from dvis_daq.tracker.daq import DAQTracker
from dvis_daq.tracker.padding import RowPadding

logger = logging.getLogger(__name__)

_ROW_MULTIPLE = 32  # rows of a compiled tracker
_KEPT = 1 << 30  # bytes of freed memory between two steps on a CPU
_BATCH_NORM = nn.modules.batchnorm._BatchNorm


def adapt(cfg: CfgNode, model: nn.Module) -> nn.Module:
    """Applies the options of `SOLVER` that say how a model is computed, not what it computes.

    - `SYNC_BN`: batch norms see the clips of all processes (those of the ViT adapter, and of timm
      backbones). False, or a CPU, which cannot: each process has its own statistics.
    - `CHANNELS_LAST`: convolution weights in the layout that tensor cores want.
    - `ACTIVATION_CHECKPOINTING`: repeated blocks compute their activations again in the backward
      pass: about a third slower, much less memory, the same numbers.
    - `COMPILE`: the segmenter's parts by torch.compile.

    On a CPU the process keeps freed memory from step to step (`keep_freed_memory`).

    Args:
        cfg: the whole configuration.
        model: on its device.

    Returns:
        The model; changed in place but for its batch norms.

    Raises:
        ConfigError: `COMPILE` on a CPU without a C++ compiler.
    """
    solver = cfg.SOLVER
    on_cpu = next(model.parameters()).device.type == "cpu"
    if on_cpu:
        keep_freed_memory(_KEPT)
    if not solver.SYNC_BN or (on_cpu and dist.is_initialized()):
        unshare_batch_norms(model)
    elif comm.get_world_size() > 1:
        model = convert_sync_batchnorm(model)
    if solver.CHANNELS_LAST:
        model.to(memory_format=torch.channels_last)
    if solver.ACTIVATION_CHECKPOINTING:
        logger.info("%d blocks recompute their activations", recompute_blocks(model))
    if solver.COMPILE:
        compile_segmenter(model.get_submodule("segmenter"))
    return model


def recompute_blocks(model: nn.Module) -> int:
    """Lets the repeated blocks of a model recompute their activations; returns their number.

    Blocks with a batch norm are left out, because its statistics would be counted twice.
    """
    blocks = [b for b in repeated_blocks(model) if not _has_batch_norm(b)]
    for block in blocks:
        block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
    return len(blocks)


def repeated_blocks(module: nn.Module) -> list[nn.Module]:
    """The innermost modules with children that stand in a list with others of their class."""
    within = [block for child in module.children() for block in repeated_blocks(child)]
    if within or not isinstance(module, (nn.ModuleList, nn.Sequential)):
        return within
    composed = [child for child in module.children() if next(child.children(), None) is not None]
    count = Counter(type(child) for child in composed)
    return [child for child in composed if count[type(child)] > 1]


def _has_batch_norm(module: nn.Module) -> bool:
    return any(isinstance(part, _BATCH_NORM) for part in module.modules())


def unshare_batch_norms(model: nn.Module) -> None:
    """Puts plain batch norms, with the same tensors, in place of synchronised ones."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.SyncBatchNorm):
                parent.register_module(name, _local_batch_norm(child))


def _local_batch_norm(shared: nn.SyncBatchNorm) -> nn.BatchNorm2d:
    local = nn.BatchNorm2d(shared.num_features, shared.eps, shared.momentum, shared.affine)
    local._parameters = shared._parameters  # the optimiser may know them
    local._buffers = shared._buffers
    return local.train(shared.training)


def compile_segmenter(segmenter: nn.Module) -> None:
    """Compiles the children of a segmenter in place, so that names stay; sizes may change.

    Raises:
        ConfigError: on a CPU without a C++ compiler.
    """
    if next(segmenter.parameters()).device.type == "cpu":
        _check_compiler()
    for part in segmenter.children():
        part.compile(dynamic=True)


def compile_tracker(tracker: DAQTracker) -> None:
    """Compiles both trackers in place; on a GPU their steps become CUDA graphs.

    A step is many small kernels, so that a GPU waits for their launches. Rows are padded, and
    there is one graph for each number of padded rows that a video meets.
    """
    tracker.padding = RowPadding(_ROW_MULTIPLE)
    for part in (tracker.emergence, tracker.disappearance):
        if part is not None:
            part.compile(mode="reduce-overhead", dynamic=False)


def _check_compiler() -> None:
    """torch would say so in the first step, within pages of its own traceback."""
    program = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(program) is None:
        raise ConfigError(
            f"COMPILE on a CPU needs a C++ compiler, and there is no {program!r}; install one, "
            "name it in the environment variable CXX, or set SOLVER.COMPILE and TEST.COMPILE False"
        )
