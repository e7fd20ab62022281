"""Loaders for training and inference, from explicit arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, Sampler

from detectron2.data.common import (
    AspectRatioGroupedDataset,
    DatasetFromList,
    MapDataset,
    _MappedStream,
)
from detectron2.data.samplers import InferenceSampler, TrainingSampler
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng

__all__ = [
    "build_batch_data_loader",
    "build_detection_test_loader",
    "build_detection_train_loader",
    "trivial_batch_collator",
    "worker_init_reset_seed",
]


def build_detection_train_loader(
    dataset: Sequence[Any] | Dataset,
    *,
    mapper: Callable[[Any], Any] | None,
    sampler: Sampler | None = None,
    total_batch_size: int,
    aspect_ratio_grouping: bool = True,
    num_workers: int = 0,
    collate_fn: Callable[[list[Any]], Any] | None = None,
    **kwargs: Any,
) -> Iterable[Any]:
    """An endless loader of this process's share of each batch.

    Args:
        dataset: a list of records, or a data set of either kind.
        mapper: from a record to what the model takes; None if the data set does it.
        sampler: endless order of a list or map-style data set, `TrainingSampler` if None.
        total_batch_size: over all processes, a multiple of their number.
        aspect_ratio_grouping: batch wide with wide and tall with tall images; the mapped records
            then need `width` and `height`.
        num_workers: worker processes; their number does not change the batches.
        collate_fn: makes a batch of a list of items, the list itself if None.
        **kwargs: go to `torch.utils.data.DataLoader`.
    """
    dataset = _mapped(dataset, mapper)
    if isinstance(dataset, IterableDataset):
        assert sampler is None, "sampler must be None if dataset is IterableDataset"
    else:
        sampler = TrainingSampler(len(dataset)) if sampler is None else sampler
        assert isinstance(sampler, Sampler), f"Expect a Sampler but got {type(sampler)}"
    return build_batch_data_loader(
        dataset,
        sampler,
        total_batch_size,
        aspect_ratio_grouping=aspect_ratio_grouping,
        num_workers=num_workers,
        collate_fn=collate_fn,
        **kwargs,
    )


def build_batch_data_loader(
    dataset: Dataset,
    sampler: Sampler | None,
    total_batch_size: int,
    *,
    aspect_ratio_grouping: bool = False,
    num_workers: int = 0,
    collate_fn: Callable[[list[Any]], Any] | None = None,
    **kwargs: Any,
) -> Iterable[Any]:
    """As `build_detection_train_loader`, for a data set that is mapped already."""
    world_size = comm.get_world_size()
    assert total_batch_size > 0 and total_batch_size % world_size == 0, (
        f"Total batch size ({total_batch_size}) must be divisible by the number of gpus "
        f"({world_size})."
    )
    batch_size = total_batch_size // world_size
    kwargs = {"num_workers": num_workers, "worker_init_fn": worker_init_reset_seed, **kwargs}
    collate_fn = collate_fn or trivial_batch_collator

    if aspect_ratio_grouping:
        singles = DataLoader(dataset, sampler=sampler, batch_size=None, collate_fn=_first, **kwargs)
        grouped = AspectRatioGroupedDataset(singles, batch_size)
        return DataLoader(grouped, batch_size=None, collate_fn=collate_fn)
    if isinstance(dataset, IterableDataset):
        return DataLoader(
            dataset, batch_size=batch_size, drop_last=True, collate_fn=collate_fn, **kwargs
        )
    batches = BatchSampler(sampler, batch_size, drop_last=True)
    return DataLoader(dataset, batch_sampler=batches, collate_fn=collate_fn, **kwargs)


def build_detection_test_loader(
    dataset: Sequence[Any] | Dataset,
    *,
    mapper: Callable[[Any], Any] | None,
    sampler: Sampler | None = None,
    batch_size: int = 1,
    num_workers: int = 0,
    collate_fn: Callable[[list[Any]], Any] | None = None,
) -> DataLoader:
    """A loader that gives each record of this process's share once, in order.

    Args:
        dataset: a list of records, or a data set.
        mapper: from a record to what the model takes; None if the data set does it.
        sampler: order of the records, `InferenceSampler` if None.
        batch_size: of this process.
        num_workers: worker processes.
        collate_fn: makes a batch of a list of items, the list itself if None.
    """
    dataset = _mapped(dataset, mapper)
    if isinstance(dataset, IterableDataset):
        assert sampler is None, "sampler must be None if dataset is IterableDataset"
    elif sampler is None:
        sampler = InferenceSampler(len(dataset))
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=num_workers,
        collate_fn=collate_fn or trivial_batch_collator,
    )


def _mapped(dataset: Sequence[Any] | Dataset, mapper: Callable[[Any], Any] | None) -> Dataset:
    if isinstance(dataset, list):
        dataset = DatasetFromList(dataset, copy=False)
    if mapper is None:
        return dataset
    kind = _MappedStream if isinstance(dataset, IterableDataset) else MapDataset
    return kind(dataset, mapper)


def trivial_batch_collator(batch: list[Any]) -> list[Any]:
    """The list as it is."""
    return batch


def _first(item: Any) -> Any:
    """Stands for no collation of single items, numpy arrays stay arrays."""
    return item


def worker_init_reset_seed(worker_id: int) -> None:
    """Seeds all generators of a worker from torch's seed, which differs in every epoch."""
    seed_all_rng(torch.initial_seed() % 2**31 + worker_id)
