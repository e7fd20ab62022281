"""The endless stream of training clips: a function of seed and position, and of nothing else.

Clip number p of a stream is the same whatever the number of worker processes or of GPUs, and
whether the run was resumed. No global random generator takes part.
"""

from __future__ import annotations

import itertools
import logging
import pickle
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import Dataset, Sampler, get_worker_info

from dvis_daq.data.annotations import Record
from dvis_daq.data.errors import BrokenDataError, Skipped, left_out

logger = logging.getLogger(__name__)

MAX_DRAWS = 200  # clips without an object in a row, until the data set is given up


class Draw(NamedTuple):
    """One place of a stream."""

    position: int  # 0, 1, 2, ... over all processes
    record: int  # which record it starts from


class RecordStore:
    """Records in one byte array, which worker processes share and never copy.

    Only what is looked at becomes Python objects again; the arrays of a record (its encoded
    masks) are views.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        pieces: list[Any] = []
        self._first = [0]  # the pieces of record i are first[i] .. first[i + 1]
        for record in records:
            buffers: list[pickle.PickleBuffer] = []
            pieces.append(pickle.dumps(record, protocol=5, buffer_callback=buffers.append))
            pieces += [buffer.raw() for buffer in buffers]
            self._first.append(len(pieces))
        self._ends = np.cumsum([0] + [len(piece) for piece in pieces])
        self._bytes = np.frombuffer(b"".join(pieces), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self._first) - 1

    def __getitem__(self, index: int) -> Record:
        first, last = self._first[index], self._first[index + 1]
        view = memoryview(self._bytes)
        ends = self._ends[first : last + 1].tolist()
        record, *buffers = (view[a:b] for a, b in itertools.pairwise(ends))
        return pickle.loads(record, buffers=buffers)


class ClipDataset(Dataset):
    """Training clips by `Draw`.

    Args:
        records: the videos.
        mapper: (record, rng) -> clip, or None where it shows no object.
        seed: of this stream.
        name: for messages.
        skip_broken: draw again where a file is broken; the clip then has the number of such
            draws as `skipped`. Otherwise BrokenDataError is raised.
        groups: of each record, see `GroupedSampler`; a stand-in is of the same one.
    """

    def __init__(
        self,
        records: Sequence[Record] | RecordStore,
        mapper: Callable[[Record, np.random.Generator], dict[str, Any] | None],
        seed: Sequence[int],
        name: str = "",
        skip_broken: bool = False,
        groups: Sequence[int] = (),
    ) -> None:
        self.records = records
        self.groups = np.array(groups)
        self.mapper = mapper
        self.seed = tuple(seed)
        self.name = name
        self.skipped = Skipped(name) if skip_broken else None

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, draw: Draw) -> dict[str, Any]:
        """The clip at a place of the stream; other videos stand in while it shows no object.

        Raises:
            BrokenDataError: a file is broken.
            ValueError: nothing is found in `MAX_DRAWS` tries.
        """
        _outlive_signals()
        rng = np.random.default_rng([*self.seed, draw.position])
        index, broken = draw.record, 0
        for _ in range(MAX_DRAWS):
            try:
                clip = self.mapper(self.records[index], rng)
            except BrokenDataError as error:
                left_out(error, self.skipped)
                clip, broken = None, broken + 1
            if clip is not None:
                return {**clip, "skipped": broken} if self.skipped else clip
            stand_ins = self._stand_ins(draw.record)
            index = stand_ins[int(rng.integers(len(stand_ins)))]
        raise ValueError(
            f"data set '{self.name}': {MAX_DRAWS} clips in a row show no object ({broken} are "
            "broken); look at it with tools/dataset.py stats and check, and at INPUT.CROP and "
            "INPUT.CLIP.SKIP_EMPTY_FIRST"
        )

    def _stand_ins(self, record: int) -> Sequence[int]:
        """Records that may stand in for one."""
        if not len(self.groups):
            return range(len(self))
        return np.flatnonzero(self.groups == self.groups[record]).tolist()


def _outlive_signals() -> None:
    """A signal to all processes of a run must not take the data away from its last step."""
    if get_worker_info() is not None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


class ClipSampler(Sampler[Draw]):
    """Endless passes over the records, each in a new order; rank r of W takes every W-th draw.

    Args:
        size: number of records.
        seed: of the orders.
        rank: of this process.
        world: number of processes.
        start: position to begin at, over all processes.
    """

    def __init__(
        self, size: int, *, seed: Sequence[int], rank: int = 0, world: int = 1, start: int = 0
    ) -> None:
        if size < 1:
            raise ValueError(f"a stream needs at least one record, got {size}")
        self.size = size
        self.seed = tuple(seed)
        self.positions = (start + rank, world)

    def __iter__(self) -> Iterator[Draw]:
        epoch, order = -1, np.empty(0, dtype=np.int64)
        for position in itertools.count(*self.positions):
            if position // self.size != epoch:
                epoch = position // self.size
                order = np.random.default_rng([*self.seed, epoch]).permutation(self.size)
            yield Draw(position, int(order[position % self.size]))


class GroupedSampler(Sampler[Draw]):
    """Rearranges the draws of a process so that the clips of a batch are of one group.

    Which draw comes when depends on the draws before it, so a resumed stream is followed from
    its beginning, without decoding anything.

    Args:
        draws: of this process, from position 0.
        groups: (size,) of each record, e.g. whether it is wide.
        batch: draws of a group that follow each other.
        skip: batches to leave out at the beginning.
    """

    def __init__(
        self, draws: ClipSampler, groups: Sequence[int], *, batch: int, skip: int = 0
    ) -> None:
        self.draws = draws
        self.groups = groups
        self.batch = batch
        self.skip = skip

    def __iter__(self) -> Iterator[Draw]:
        return itertools.islice(self._grouped(), self.skip * self.batch, None)

    def _grouped(self) -> Iterator[Draw]:
        waiting: dict[int, list[Draw]] = {}
        for draw in self.draws:
            group = waiting.setdefault(self.groups[draw.record], [])
            group.append(draw)
            if len(group) == self.batch:
                yield from group
                group.clear()


class SkipCounter:
    """Says how many broken clips the worker processes left out: while it grows, and at the end.

    Args:
        loader: batches of clips with `skipped`, see `ClipDataset`.
    """

    def __init__(self, loader: Iterable[list[dict[str, Any]]]) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        total = clips = 0
        try:
            for batch in self.loader:
                found = sum(clip.pop("skipped") for clip in batch)
                total, clips = total + found, clips + len(batch)
                if found:
                    logger.warning("broken clips left out so far: %d of %d", total, clips + total)
                yield batch
        finally:
            logger.warning("broken clips left out: %d of %d drawn", total, clips + total)


class MixedLoader:
    """Takes each batch from one of several endless loaders, drawn by weight.

    All processes draw the same source for the same batch.

    Args:
        loaders: (number of batches already taken) -> endless loader, one per source.
        weights: relative, not negative.
        seed: of the draws.
        start: batches to leave out at the beginning.
    """

    def __init__(
        self,
        loaders: Sequence[Callable[[int], Iterable[Any]]],
        weights: Sequence[float],
        seed: Sequence[int],
        start: int = 0,
    ) -> None:
        if len(loaders) != len(weights) or min(weights) < 0 or sum(weights) <= 0:
            raise ValueError(f"{len(loaders)} sources need as many weights >= 0, got {weights}")
        self.loaders = loaders
        self.edges = np.cumsum(weights)[:-1] / sum(weights)
        self.seed = tuple(seed)
        self.start = start

    def __iter__(self) -> Iterator[Any]:
        rng = np.random.default_rng(self.seed)
        past = np.searchsorted(self.edges, rng.random(self.start), side="right")
        taken = np.bincount(past, minlength=len(self.loaders)).tolist()
        sources = [iter(make(n)) for make, n in zip(self.loaders, taken, strict=True)]
        while True:
            yield next(sources[int(np.searchsorted(self.edges, rng.random(), side="right"))])
