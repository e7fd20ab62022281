"""The stream of clips: shared memory, order, resume, retries, mixing."""

import itertools
import pickle

import numpy as np
import pytest

from dvis_daq.data.annotations import read_instances
from dvis_daq.data.stream import ClipDataset, ClipSampler, Draw, MixedLoader, RecordStore
from tests.unit.data.tiny_vis import write_tiny


def take(iterable, count):
    return list(itertools.islice(iterable, count))


def test_records_survive_the_store(tmp_path):
    records, _ = read_instances(*write_tiny(tmp_path))
    store = pickle.loads(pickle.dumps(RecordStore(records)))
    assert len(store) == 2
    for stored, record in zip(store, records, strict=True):
        assert stored["file_names"] == record["file_names"]
        np.testing.assert_array_equal(stored["targets"].runs, record["targets"].runs)
        np.testing.assert_array_equal(stored["targets"].visible, record["targets"].visible)


def test_masks_are_not_copied_out_of_the_store(tmp_path):
    store = RecordStore(read_instances(*write_tiny(tmp_path))[0])
    assert np.shares_memory(store[0]["targets"].runs, store._bytes)


def test_every_pass_visits_all_in_a_new_order():
    draws = take(ClipSampler(7, seed=(3,)), 28)
    assert [d.position for d in draws] == list(range(28))
    passes = [[d.record for d in draws[i : i + 7]] for i in (0, 7, 14, 21)]
    assert all(sorted(p) == list(range(7)) for p in passes)
    assert len({tuple(p) for p in passes}) == 4


def test_processes_share_one_stream():
    whole = take(ClipSampler(5, seed=(0,)), 12)
    ranks = [take(ClipSampler(5, seed=(0,), rank=r, world=2), 6) for r in (0, 1)]
    assert [d for pair in zip(*ranks, strict=True) for d in pair] == whole


def test_resume_goes_on_where_it_was():
    whole = take(ClipSampler(5, seed=(0,), rank=1, world=2), 20)
    assert take(ClipSampler(5, seed=(0,), rank=1, world=2, start=14), 13) == whole[7:]


def test_a_clip_depends_on_seed_and_position_alone():
    dataset = ClipDataset(range(9), lambda record, rng: (record, rng.random()), (1, 2))
    assert dataset[Draw(4, 3)] == dataset[Draw(4, 3)]
    assert dataset[Draw(4, 3)] != dataset[Draw(5, 3)]
    other = ClipDataset(range(9), lambda record, rng: (record, rng.random()), (1, 3))
    assert dataset[Draw(4, 3)] != other[Draw(4, 3)]


def test_another_record_stands_in_for_an_empty_clip():
    dataset = ClipDataset(range(9), lambda record, rng: record if record > 6 else None, (0,))
    assert {dataset[Draw(p, 0)] for p in range(30)} == {7, 8}
    assert dataset[Draw(2, 0)] == dataset[Draw(2, 0)]
    empty = ClipDataset(range(3), lambda record, rng: None, (0,), name="void")
    with pytest.raises(ValueError, match="data set 'void': 200 clips in a row show no object"):
        empty[Draw(0, 0)]


def test_an_empty_stream_is_refused():
    with pytest.raises(ValueError, match="at least one record"):
        ClipSampler(0, seed=(0,))


def test_sources_are_mixed_by_weight_and_resumed():
    def source(letter):
        return lambda taken: ((letter, i) for i in itertools.count(taken))

    loaders = [source("a"), source("b"), source("c")]
    mixed = take(MixedLoader(loaders, [3, 1, 0], (5,)), 4000)
    letters = [letter for letter, _ in mixed]
    assert letters.count("a") / 4000 == pytest.approx(0.75, abs=0.03)
    assert "c" not in letters
    assert [i for letter, i in mixed if letter == "b"] == list(range(letters.count("b")))
    assert take(MixedLoader(loaders, [3, 1, 0], (5,), start=150), 50) == mixed[150:200]


@pytest.mark.parametrize("weights", [[1], [1, -1], [0, 0]])
def test_bad_weights(weights):
    with pytest.raises(ValueError, match="weights"):
        MixedLoader([iter, iter], weights, (0,))
