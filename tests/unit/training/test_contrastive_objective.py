"""Which embeddings CTVIS compares."""

import pytest
import torch

from dvis_daq.training.objectives.contrastive import ContrastiveObjective, ObjectEmbeddings


def _momentum(n: int) -> int:
    return 0


def _latest(n: int) -> int:
    return 1


@pytest.fixture
def clip() -> tuple[torch.Tensor, torch.Tensor]:
    """5 frames of 4 queries; object g is query g everywhere."""
    return torch.randn(5, 4, 3), torch.arange(2).repeat(5, 1)


def test_latest_sighting_is_the_positive_and_the_other_queries_the_negatives(clip):
    reid, query = clip
    visible = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0]], dtype=torch.bool)
    items = ContrastiveObjective(choice=_latest).items(reid, query, visible)
    assert len(items) == 2  # frames 2 and 3
    assert torch.equal(items[0].anchor, reid[2, 0])
    assert torch.equal(items[0].positives, reid[0, :1])
    assert torch.equal(items[0].negatives, reid[1])  # absent from frame 1: all are others
    assert torch.equal(items[1].positives, reid[2, :1])
    assert torch.equal(items[1].negatives, reid[2, 1:])


def test_first_sighting_looks_ahead(clip):
    reid, query = clip
    visible = torch.tensor([[0, 0, 1, 0, 1], [0, 1, 0, 0, 0]], dtype=torch.bool)
    items = ContrastiveObjective(choice=_latest).items(reid, query, visible)
    assert [torch.equal(item.positives[0], reid[4, 0]) for item in items] == [True, False]
    assert torch.equal(items[1].positives[0], reid[2, 0])  # frame 4 of object 0; object 1 has none


def test_released_count_leaves_an_item_out(clip):
    reid, query = clip
    visible = torch.tensor([[0, 1, 0, 1, 1], [0, 0, 0, 0, 0]], dtype=torch.bool)
    sound = ContrastiveObjective(choice=_latest).items(reid, query, visible)
    released = ContrastiveObjective(choice=_latest, released_first_items=True)
    assert len(released.items(reid, query, visible)) == len(sound) - 1  # 1 absent after frame 1


def test_running_embedding_follows_similarity():
    each = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    track = ObjectEmbeddings(each, torch.tensor([True, True, True]))
    assert torch.equal(track.running[1], each[0])  # orthogonal: nothing moves
    assert torch.allclose(track.running[2], each[0])  # half similar to the past, and equal to it


def test_number_of_negatives_is_bounded(clip):
    reid, query = clip
    visible = torch.ones(2, 5, dtype=torch.bool)
    items = ContrastiveObjective(choice=_momentum, num_negatives=2).items(reid, query, visible)
    assert {len(item.negatives) for item in items} == {2}
