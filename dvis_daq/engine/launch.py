"""Starting a program once per GPU: by ourselves, or under torchrun."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

import torch
import torch.distributed as dist
from detectron2.engine import launch
from detectron2.utils import comm

from dvis_daq.config import ConfigError


def run(
    main: Callable[[argparse.Namespace], None], args: argparse.Namespace, *, device: str
) -> None:
    """Calls `main(args)` in each process of a run.

    Under torchrun this is one of its processes. Else `args.num_gpus` processes are started on
    each of `args.num_machines` machines; one process alone is a plain call. The processes talk
    by NCCL between GPUs and by Gloo on the CPU.

    Args:
        main: importable from its module.
        args: of Detectron2's argument parser.
        device: `MODEL.DEVICE`.
    """
    if _under_torchrun():
        _run_under_torchrun(main, args, device)
        return
    count = max(args.num_gpus, 1)
    launch(main, count, args.num_machines, args.machine_rank, args.dist_url, args=(args,))


def check_processes(num_gpus: int, device: str) -> None:
    """Refuses more processes than GPUs before any of them is started.

    Args:
        num_gpus: processes on this machine; 0 is one process.
        device: `MODEL.DEVICE`.

    Raises:
        ConfigError: there are not as many GPUs.
    """
    if _under_torchrun():
        return
    available = torch.cuda.device_count()
    if device != "cpu" and num_gpus > available:
        raise ConfigError(
            f"--num-gpus {num_gpus}, but this machine has {available}; MODEL.DEVICE cpu works "
            "without a GPU"
        )
    if device == "cpu" and num_gpus > 1 and available:
        raise ConfigError("on a machine with GPUs, start several CPU processes with torchrun")


def _under_torchrun() -> bool:
    return "LOCAL_RANK" in os.environ and "WORLD_SIZE" in os.environ


def _run_under_torchrun(
    main: Callable[[argparse.Namespace], None], args: argparse.Namespace, device: str
) -> None:
    if device != "cpu":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("gloo" if device == "cpu" else "nccl")
    try:
        comm.create_local_process_group(int(os.environ["LOCAL_WORLD_SIZE"]))
        main(args)
    finally:
        dist.destroy_process_group()
