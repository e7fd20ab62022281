"""Talking between processes; every function also works without a process group."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

__all__ = [
    "all_gather",
    "create_local_process_group",
    "gather",
    "get_local_process_group",
    "get_local_rank",
    "get_local_size",
    "get_rank",
    "get_world_size",
    "is_main_process",
    "reduce_dict",
    "shared_random_seed",
    "synchronize",
]

_local_group: dist.ProcessGroup | None = None  # the processes of this machine


def _distributed() -> bool:
    return dist.is_available() and dist.is_initialized()


def get_world_size() -> int:
    """Number of processes, 1 without a process group."""
    return dist.get_world_size() if _distributed() else 1


def get_rank() -> int:
    """Number of this process, 0 without a process group."""
    return dist.get_rank() if _distributed() else 0


def is_main_process() -> bool:
    """True in the process that writes files and logs."""
    return get_rank() == 0


def create_local_process_group(num_workers_per_machine: int) -> None:
    """Makes the group of each machine's processes; every process must call it, once.

    `launch` does this; a script started by torchrun has to.
    """
    global _local_group
    assert _local_group is None, "The local process group exists already."
    world = get_world_size()
    assert world % num_workers_per_machine == 0, (
        f"{world} processes cannot be split into machines of {num_workers_per_machine}"
    )
    mine = get_rank() // num_workers_per_machine
    for machine in range(world // num_workers_per_machine):
        first = machine * num_workers_per_machine
        group = dist.new_group(list(range(first, first + num_workers_per_machine)))
        if machine == mine:
            _local_group = group


def get_local_process_group() -> dist.ProcessGroup:
    """The group of the processes on this machine."""
    assert _local_group is not None, (
        "The local process group is not created. Start the processes with "
        "detectron2.engine.launch, or call comm.create_local_process_group(n) first."
    )
    return _local_group


def get_local_rank() -> int:
    """Number of this process among those of its machine."""
    return dist.get_rank(group=get_local_process_group()) if _distributed() else 0


def get_local_size() -> int:
    """Number of processes on this machine."""
    return dist.get_world_size(group=get_local_process_group()) if _distributed() else 1


def synchronize() -> None:
    """Waits until every process is here."""
    if get_world_size() == 1:
        return
    if dist.get_backend() == dist.Backend.NCCL:  # else NCCL guesses the device, and may hang
        dist.barrier(device_ids=[torch.cuda.current_device()])
    else:
        dist.barrier()


@functools.lru_cache
def _object_group() -> dist.ProcessGroup:
    """A group that carries Python objects through main memory."""
    if dist.get_backend() == dist.Backend.NCCL:
        return dist.new_group(backend="gloo")
    return dist.group.WORLD


def all_gather(data: Any, group: dist.ProcessGroup | None = None) -> list[Any]:
    """Returns the `data` (picklable) of every process, ordered by rank."""
    if get_world_size() == 1:
        return [data]
    group = group or _object_group()
    gathered = [None] * dist.get_world_size(group)
    dist.all_gather_object(gathered, data, group=group)
    return gathered


def gather(data: Any, dst: int = 0, group: dist.ProcessGroup | None = None) -> list[Any]:
    """Returns the `data` of every process in process `dst`, and `[]` in the others."""
    if get_world_size() == 1:
        return [data]
    group = group or _object_group()
    receives = get_rank() == dst
    gathered = [None] * dist.get_world_size(group) if receives else None
    dist.gather_object(data, gathered, dst=dst, group=group)
    return gathered or []


def shared_random_seed() -> int:
    """A seed drawn from numpy, the same in every process; a collective call."""
    return all_gather(int(np.random.randint(2**31)))[0]


@torch.no_grad()
def reduce_dict(
    input_dict: dict[str, torch.Tensor], average: bool = True
) -> dict[str, torch.Tensor]:
    """Sums or averages scalars over the processes; only the main process has the result.

    Args:
        input_dict: scalar tensors under the same names everywhere.
        average: divide by the number of processes.
    """
    if get_world_size() == 1:
        return input_dict
    names = sorted(input_dict)  # every process must stack in one order
    values = torch.stack([input_dict[name] for name in names])
    dist.reduce(values, dst=0)
    if average and is_main_process():
        values = values / get_world_size()
    return dict(zip(names, values, strict=True))
