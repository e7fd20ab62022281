"""Starting a program once per GPU: by ourselves, or under torchrun."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from detectron2.engine import launch
from detectron2.utils import comm
from torch.distributed.elastic.multiprocessing.errors import record

from dvis_daq.config import ConfigError
from dvis_daq.engine.rendezvous import meet


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
    if count * args.num_machines == 1:
        main(args)
        return
    with _signals_passed_on():
        try:
            launch(
                _call_in_group,
                count,
                args.num_machines,
                args.machine_rank,
                args.dist_url,
                args=(main, args),
            )
        except mp.ProcessExitedException as error:
            raise SystemExit(_farewell(error)) from None
        except mp.ProcessRaisedException as error:
            raise SystemExit(
                f"error: one process failed and the others were ended.{error}"
            ) from None


def restarted() -> bool:
    """Whether torchrun has started this process anew after a failure."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0


def _call_in_group(main: Callable[[argparse.Namespace], None], args: argparse.Namespace) -> None:
    """`main(args)` in a process of a group, which is left together.

    Only after success: to leave it after a failure would wait for the others.
    """
    main(args)
    comm.synchronize()
    dist.destroy_process_group()


@contextmanager
def _signals_passed_on() -> Iterator[None]:
    """The processes of a run decide when to end; the one that started them waits for them."""

    def pass_on(number: int, _: FrameType | None) -> None:
        for child in multiprocessing.active_children():
            if child.pid:
                os.kill(child.pid, number)

    before: dict[int, Any] = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, pass_on)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _farewell(error: mp.ProcessExitedException) -> int | str:
    """Exit status of the run after that of one of its processes, or words where it left none."""
    if error.exit_code >= 0:
        return error.exit_code
    hint = " (out of memory?)" if error.exit_code == -signal.SIGKILL else ""
    return (
        f"error: process {error.error_index} of the run was ended by {error.signal_name}{hint}, "
        "and the others with it; go on from the last checkpoint with --resume"
    )


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
    store, rank, world_size = meet()
    backend = "gloo" if device == "cpu" else "nccl"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size)
    comm.create_local_process_group(int(os.environ["LOCAL_WORLD_SIZE"]))
    record(_call_in_group)(main, args)  # torchrun shows the traceback of the first failure
