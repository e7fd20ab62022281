"""Starting the processes of a distributed run."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from detectron2.utils import comm

__all__ = ["DEFAULT_TIMEOUT", "launch"]

DEFAULT_TIMEOUT = timedelta(minutes=30)


def launch(
    main_func: Callable[..., Any],
    num_gpus_per_machine: int,
    num_machines: int = 1,
    machine_rank: int = 0,
    dist_url: str | None = None,
    args: tuple[Any, ...] = (),
    timeout: timedelta = DEFAULT_TIMEOUT,
) -> None:
    """Runs a function in one process for each GPU (NCCL), or without a GPU as many on the CPU.

    One process in all is a direct call without a process group. Else the processes are spawned,
    so `main_func` has to be importable.

    Args:
        main_func: called with `args` in every process.
        num_gpus_per_machine: processes here.
        num_machines: machines in all; `launch` runs once on each.
        machine_rank: number of this machine.
        dist_url: where the processes meet, e.g. `tcp://127.0.0.1:8686`; `auto` takes a free port
            of this machine.
        args: of `main_func`.
        timeout: of the collective calls.
    """
    world_size = num_machines * num_gpus_per_machine
    if world_size == 1:
        main_func(*args)
        return
    if dist_url == "auto":
        assert num_machines == 1, "dist_url=auto not supported in multi-machine jobs."
        dist_url = f"tcp://127.0.0.1:{_free_port()}"
    mp.spawn(
        _worker,
        nprocs=num_gpus_per_machine,
        args=(main_func, world_size, num_gpus_per_machine, machine_rank, dist_url, args, timeout),
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def _worker(
    local_rank: int,
    main_func: Callable[..., Any],
    world_size: int,
    num_gpus_per_machine: int,
    machine_rank: int,
    dist_url: str,
    args: tuple[Any, ...],
    timeout: timedelta,
) -> None:
    has_gpu = torch.cuda.is_available()
    if has_gpu:
        assert num_gpus_per_machine <= torch.cuda.device_count(), (
            f"{num_gpus_per_machine} GPUs are asked for, {torch.cuda.device_count()} are here"
        )
        torch.cuda.set_device(local_rank)
    dist.init_process_group(
        backend="nccl" if has_gpu else "gloo",
        init_method=dist_url,
        world_size=world_size,
        rank=machine_rank * num_gpus_per_machine + local_rank,
        timeout=timeout,
    )
    comm.create_local_process_group(num_gpus_per_machine)
    comm.synchronize()  # a process that ends early must not meet one that has not begun
    main_func(*args)
