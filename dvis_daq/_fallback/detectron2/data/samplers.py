"""Which records a process sees, in which order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from detectron2.utils import comm

__all__ = ["InferenceSampler", "TrainingSampler"]


class TrainingSampler(Sampler):
    """An endless stream of indices, shared out among the processes.

    All processes draw the same stream; process r takes its items r, r + world, ...

    Args:
        size: number of records.
        shuffle: a new permutation for every pass over the data.
        seed: of the permutations; drawn once for all processes (a collective call) if None.

    Raises:
        TypeError: `size` is no integer.
        ValueError: `size` is not positive.
    """

    def __init__(self, size: int, shuffle: bool = True, seed: int | None = None) -> None:
        if not isinstance(size, int):
            raise TypeError(f"TrainingSampler(size=) expects an int, got {type(size)}")
        if size <= 0:
            raise ValueError(f"TrainingSampler(size=) expects a positive int, got {size}")
        self._size = size
        self._shuffle = shuffle
        self._seed = comm.shared_random_seed() if seed is None else int(seed)
        self._rank = comm.get_rank()
        self._world_size = comm.get_world_size()

    def __iter__(self) -> Iterator[int]:
        yield from itertools.islice(self._stream(), self._rank, None, self._world_size)

    def _stream(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed)
        while True:
            if self._shuffle:
                yield from torch.randperm(self._size, generator=generator).tolist()
            else:
                yield from range(self._size)


class InferenceSampler(Sampler):
    """Each record once: a contiguous share for every process, the first ones one longer.

    Args:
        size: number of records; a share may be empty.
    """

    def __init__(self, size: int) -> None:
        share, longer = divmod(size, comm.get_world_size())
        rank = comm.get_rank()
        begin = rank * share + min(rank, longer)
        self._indices = range(begin, begin + share + (rank < longer))

    def __iter__(self) -> Iterator[int]:
        return iter(self._indices)

    def __len__(self) -> int:
        return len(self._indices)
