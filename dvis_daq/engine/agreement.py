"""What all processes of a run decide together."""

from __future__ import annotations

import torch
import torch.distributed as dist
from detectron2.utils import comm


def largest(value: int, device: torch.device) -> int:
    """The largest of the values of all processes; a collective call.

    Args:
        value: of this process.
        device: where the processes talk: a GPU for NCCL, the CPU for Gloo.
    """
    if comm.get_world_size() == 1:
        return value
    shared = torch.tensor(value, device=device)
    dist.all_reduce(shared, dist.ReduceOp.MAX)
    return int(shared)
