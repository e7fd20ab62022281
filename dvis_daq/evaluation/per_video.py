"""Work that falls into videos, done by several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def each_video(
    function: Callable[[Item], Result], items: Sequence[Item], *, workers: int = 1
) -> Iterable[Result]:
    """`function` of every item, in their order.

    Args:
        function: of a module, so that other processes find it; likewise what it is bound to.
        workers: processes at most; one works in this process.
    """
    workers = min(workers, len(items))
    if workers <= 1:
        yield from map(function, items)
        return
    # Fresh processes: image libraries may have threads here that a fork would lose.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(function, items)
