"""The store by which processes under torchrun find each other, clean after every restart."""

from __future__ import annotations

import time
import uuid

from torch.distributed import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

POLL = 0.01  # seconds


def meet() -> tuple[Store, int, int]:
    """The store, rank and world size of this process of torchrun.

    Returns:
        store, of this start of the processes alone; rank; number of processes.
    """
    store, rank, world_size = next(rendezvous("env://"))
    return of_this_start(store, rank, world_size), rank, world_size


def of_this_start(store: Store, rank: int, world_size: int) -> Store:
    """A part of `store` that no process of an earlier start has written to.

    torchrun keeps one store over its restarts, and in it the addresses of processes that are
    gone: who reads before its new neighbour has written waits for a dead one. The count of
    restarts cannot tell the starts apart, because it differs between machines. So rank 0 names
    the start, and tells it to each rank under a key that only the rank's new process has drawn.

    Args:
        store: shared by all processes, also with those of earlier starts, which have ended.
        rank: of this process.
        world_size: number of processes.
    """
    if rank == 0:
        name = uuid.uuid4().hex
        for other in range(1, world_size):
            _tell(store, other, name)
    else:
        name = _ask(store, rank)
    return PrefixStore(name, store)


def _ask(store: Store, rank: int) -> str:
    call = uuid.uuid4().hex
    store.set(f"start/call/{rank}", call)
    name = store.get(f"start/answer/{call}").decode()
    store.set(f"start/heard/{name}/{rank}", "")
    return name


def _tell(store: Store, rank: int, name: str) -> None:
    """Answers until the rank has heard: its first call may be that of an earlier start."""
    while not store.check([f"start/heard/{name}/{rank}"]):
        call = store.get(f"start/call/{rank}").decode()
        store.set(f"start/answer/{call}", name)
        time.sleep(POLL)
