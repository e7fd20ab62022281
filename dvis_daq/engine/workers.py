"""Processes that load data: which they are, and which one has died."""

from __future__ import annotations

import multiprocessing
import re
import signal
from collections.abc import Sequence
from multiprocessing.util import Finalize


def data_workers() -> list[int]:
    """Process ids of the children of this process, in the order in which they were started."""
    return sorted(child.pid for child in multiprocessing.active_children() if child.pid)


def end_with_this_process() -> None:
    """Data workers are killed when this process ends, whatever it ends for.

    They outlive SIGTERM, which is all that Python sends them before it waits for them.
    """
    Finalize(None, _kill_workers, exitpriority=0)


def _kill_workers() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch would call their end a failure
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()


def dead_worker(error: RuntimeError, workers: Sequence[int]) -> str:
    """What torch's error about a data worker says, in words that help; '' for another error.

    Args:
        error: may come from anywhere in a step, because torch raises it in a signal handler.
        workers: see `data_workers`.
    """
    found = re.search(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)\s*(.*)", str(error))
    if not found:
        return ""
    names = []
    for pid in map(int, found[1].replace(",", " ").split()):
        number = f"{workers.index(pid)} of {len(workers)} " if pid in workers else ""
        names.append(f"data worker {number}(process {pid})")
    how = found[2].strip().rstrip(".") or "died"
    return (
        f"{', '.join(names)} {how}; often main or shared memory (/dev/shm) is full. Fewer "
        "DATALOADER.NUM_WORKERS need less, 0 shows an error in the data itself. Go on with "
        "--resume"
    )
