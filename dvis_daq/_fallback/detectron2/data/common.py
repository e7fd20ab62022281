"""Data sets over a list, mapped, and grouped by the shape of the images."""

from __future__ import annotations

import itertools
import logging
import pickle
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset, IterableDataset

__all__ = ["AspectRatioGroupedDataset", "DatasetFromList", "MapDataset"]


class DatasetFromList(Dataset):
    """A list as a data set.

    Args:
        lst: the records.
        copy: hand out copies, so that a reader may change them. Without effect (they are copies)
            if serialized.
        serialize: keep the records pickled in one array, which worker processes share; a list of
            objects would be copied page by page as its reference counts change.
    """

    def __init__(self, lst: Sequence[Any], copy: bool = True, serialize: bool = True) -> None:
        self._copy = copy
        self._serialized = serialize
        if serialize:
            pieces = [pickle.dumps(item, protocol=-1) for item in lst]
            self._ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
            self._bytes = np.frombuffer(b"".join(pieces), dtype=np.uint8)
        else:
            self._list = lst

    def __len__(self) -> int:
        return len(self._ends) if self._serialized else len(self._list)

    def __getitem__(self, index: int) -> Any:
        if not self._serialized:
            item = self._list[index]
            return pickle.loads(pickle.dumps(item)) if self._copy else item
        end = int(self._ends[index])
        begin = int(self._ends[index - 1]) if index % len(self) else 0
        return pickle.loads(memoryview(self._bytes[begin:end]))


class MapDataset(Dataset):
    """Applies a function to each record.

    Args:
        dataset: the records.
        map_func: returns what the loader yields, or None to have another record taken.
    """

    def __init__(self, dataset: Dataset, map_func: Callable[[Any], Any]) -> None:
        self._dataset = dataset
        self._map_func = map_func
        self._rng = random.Random(42)
        self._candidates = set(range(len(dataset)))

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Any:
        """The record `index`, or another one if the function returns None for it.

        Raises:
            ValueError: it returns None for all.
        """
        for tries in itertools.count(1):
            mapped = self._map_func(self._dataset[index])
            if mapped is not None:
                self._candidates.add(index)
                return mapped
            self._candidates.discard(index)
            if not self._candidates:
                raise ValueError(f"{self._map_func} returned None for each of {len(self)} records")
            if tries == 3:
                logging.getLogger(__name__).warning(
                    "Failed to apply %s to 3 records in a row, the last is %d",
                    self._map_func,
                    index,
                )
            index = self._rng.choice(sorted(self._candidates))
        return None


class _MappedStream(IterableDataset):
    """Applies a function to a stream; what it maps to None is left out."""

    def __init__(self, dataset: IterableDataset, map_func: Callable[[Any], Any]) -> None:
        self._dataset = dataset
        self._map_func = map_func

    def __iter__(self) -> Iterator[Any]:
        return (mapped for item in self._dataset if (mapped := self._map_func(item)) is not None)


class AspectRatioGroupedDataset(IterableDataset):
    """Batches of records that are all wide, or all not.

    Args:
        dataset: dicts with `width` and `height`.
        batch_size: length of the lists it yields.
    """

    def __init__(self, dataset: Iterable[dict[str, Any]], batch_size: int) -> None:
        self.dataset = dataset
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        buckets: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
        for record in self.dataset:
            wide = record["width"] > record["height"]
            buckets[wide].append(record)
            if len(buckets[wide]) == self.batch_size:
                yield buckets[wide]
                buckets[wide] = []
