"""Samplers and loaders: contract 4.6, on both sides."""

import itertools
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.data import (
    DatasetFromList,
    MapDataset,
    build_detection_test_loader,
    build_detection_train_loader,
)
from detectron2.data.samplers import InferenceSampler, TrainingSampler
from detectron2.utils import comm
from torch.utils.data import IterableDataset


def head(iterable: Any, count: int) -> list[Any]:
    return list(itertools.islice(iterable, count))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretends to be process `rank` of `size`."""

    def pretend(rank: int, size: int) -> None:
        monkeypatch.setattr(comm, "get_rank", lambda: rank)
        monkeypatch.setattr(comm, "get_world_size", lambda: size)

    return pretend


def test_training_sampler_is_one_endless_stream(world: Any) -> None:
    assert head(TrainingSampler(5, seed=0), 9) == [4, 0, 1, 3, 2, 3, 4, 0, 1]
    world(0, 2)
    assert head(TrainingSampler(5, seed=0), 6) == [4, 1, 2, 4, 1, 2]
    world(1, 2)
    assert head(TrainingSampler(5, seed=0), 3) == [0, 3, 3]


def test_training_sampler_arguments() -> None:
    assert head(TrainingSampler(3, shuffle=False), 4) == [0, 1, 2, 0]
    assert head(TrainingSampler(9, seed=-1), 9) == head(TrainingSampler(9, seed=-1), 9)
    with pytest.raises(TypeError):
        TrainingSampler(2.0)
    with pytest.raises(ValueError):
        TrainingSampler(0)
    with pytest.raises(TypeError):
        len(TrainingSampler(3))


@pytest.mark.parametrize(("size", "world_size"), [(5, 2), (2, 4), (6, 3)])
def test_inference_sampler_covers_everything_once(world: Any, size: int, world_size: int) -> None:
    shares = []
    for rank in range(world_size):
        world(rank, world_size)
        sampler = InferenceSampler(size)
        shares.append(list(sampler))
        assert len(sampler) == len(shares[-1])
    assert sum(shares, []) == list(range(size))
    lengths = [len(share) for share in shares]
    assert lengths == sorted(lengths, reverse=True) and max(lengths) - min(lengths) <= 1


def test_dataset_from_list_hands_out_fresh_items() -> None:
    dataset = DatasetFromList([{"a": 1}, {"a": 2}, {"a": 3}])
    dataset[1]["a"] = 9
    assert [dataset[index]["a"] for index in range(len(dataset))] == [1, 2, 3]
    records = [{"a": 1}]
    assert DatasetFromList(records, copy=False, serialize=False)[0] is records[0]


def test_map_dataset_takes_another_item(caplog: pytest.LogCaptureFixture) -> None:
    odd = MapDataset(list(range(10)), lambda item: item if item % 2 else None)
    assert odd[3] == 3
    assert all(odd[index] % 2 for index in range(10))
    logging.getLogger("detectron2").propagate = True
    only = MapDataset(list(range(30)), lambda item: item if item == 29 else None)
    with caplog.at_level(logging.WARNING):
        assert only[0] == 29
    assert caplog.records
    with pytest.raises(ValueError):
        MapDataset(list(range(4)), lambda item: None)[0]


def train(dataset: Any, **kwargs: Any) -> Iterator[Any]:
    options = {"mapper": None, "aspect_ratio_grouping": False, **kwargs}
    return iter(build_detection_train_loader(dataset, **options))


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_do_not_change_the_batches(workers: int) -> None:
    loader = train(
        list(range(7)),
        mapper=negative,
        sampler=TrainingSampler(7, seed=0),
        total_batch_size=2,
        num_workers=workers,
    )
    stream = head(TrainingSampler(7, seed=0), 10)
    expected = [[-a, -b] for a, b in zip(stream[::2], stream[1::2], strict=True)]
    assert head(loader, 5) == expected


def negative(item: int) -> int:
    return -item


def random_number(item: int) -> float:
    return float(np.random.rand())


def test_workers_have_their_own_random_numbers() -> None:
    options = {"mapper": random_number, "total_batch_size": 1, "num_workers": 2}
    torch.manual_seed(0)
    first = head(train(list(range(4)), sampler=TrainingSampler(4, seed=0), **options), 4)
    torch.manual_seed(0)
    again = head(train(list(range(4)), sampler=TrainingSampler(4, seed=0), **options), 4)
    assert first == again and first[0] != first[1]


def test_collate_and_arguments_of_the_loader() -> None:
    sampler = TrainingSampler(4, shuffle=False)
    loader = train(
        DatasetFromList([1, 2, 3, 4]), sampler=sampler, total_batch_size=2, collate_fn=sum
    )
    assert head(loader, 3) == [3, 7, 3]
    with pytest.raises(AssertionError):
        train([1, 2], sampler=[0, 1], total_batch_size=1)


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[int]:
        return iter(range(6))


def test_iterable_data_sets() -> None:
    assert head(train(Stream(), mapper=negative, total_batch_size=2), 2) == [[0, -1], [-2, -3]]
    with pytest.raises(AssertionError):
        train(Stream(), sampler=TrainingSampler(3), total_batch_size=1)


@pytest.mark.parametrize("workers", [0, 1])
def test_aspect_ratio_grouping(workers: int) -> None:
    records = [{"width": 1 + 2 * (i % 2), "height": 2, "i": i} for i in range(8)]
    loader = train(
        records,
        sampler=TrainingSampler(8, shuffle=False),
        total_batch_size=2,
        aspect_ratio_grouping=True,
        num_workers=workers,
    )
    batches = [[record["i"] for record in batch] for batch in head(loader, 4)]
    assert batches == [[0, 2], [1, 3], [4, 6], [5, 7]]


@pytest.mark.parametrize("workers", [0, 2])
def test_test_loader(workers: int) -> None:
    loader = build_detection_test_loader([3, 1, 2], mapper=negative, num_workers=workers)
    assert len(loader) == 3 and list(loader) == [[-3], [-1], [-2]]
    pairs = build_detection_test_loader([3, 1, 2], mapper=None, batch_size=2, collate_fn=sum)
    assert list(pairs) == [4, 2]
