"""What the memory keeps, and which items are made with it."""

import torch

from dvis_daq.structures import Assignment
from dvis_daq.training.class_memory import (
    ClassMemory,
    TrackContrast,
    TrackEmbeddings,
    track_items,
)


def _clip(seed: int = 0) -> TrackEmbeddings:
    """4 frames, 5 rows; row 3 is object 0 (class 7), row 1 is object 1 (class 2)."""
    random = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(4, 5, 6, generator=random).requires_grad_()
    pairs = Assignment(torch.tensor([3, 1]), torch.tensor([0, 1]))
    return TrackEmbeddings(embeddings, pairs, torch.tensor([7, 2]))


def test_items_without_and_with_memory() -> None:
    clip, memory = _clip(), ClassMemory()
    items = track_items(clip, memory)
    assert [(len(item.positives), len(item.negatives)) for item in items] == [(4, 4)] * 8
    assert torch.equal(items[2].anchor, clip.embeddings[1, 3])
    assert torch.equal(items[2].positives, clip.embeddings[:, 3])
    assert torch.equal(items[2].negatives, clip.embeddings[1, [0, 1, 2, 4]])
    memory.add(torch.ones(1, 2, 6), torch.tensor([7]))
    items = track_items(clip, memory)
    assert [len(item.negatives) for item in items] == [4, 2, 4] * 4
    assert torch.equal(items[1].negatives, torch.ones(2, 6))


def test_memory_is_per_class_bounded_and_without_gradient() -> None:
    memory = ClassMemory(capacity=5, permutation=lambda n: torch.arange(n))
    assert memory.of(1) is None
    tracks = torch.arange(12.0).view(2, 3, 2).requires_grad_()
    memory.add(tracks, torch.tensor([1, 1]))
    assert torch.equal(memory.of(1), tracks.detach().flatten(0, 1)[1:])
    assert not memory.of(1).requires_grad
    memory.add(tracks[:1], torch.tensor([4]))
    assert torch.equal(memory.of(4), tracks.detach()[0])
    assert len(memory.of(1)) == 5


def test_memory_can_be_saved() -> None:
    memory, other = ClassMemory(), ClassMemory()
    memory.add(torch.ones(1, 2, 6), torch.tensor([3]))
    other.load_state_dict(memory.state_dict())
    assert torch.equal(other.of(3), memory.of(3))


def test_loss_fills_the_memory_after_its_items() -> None:
    contrast, clip = TrackContrast(weight=2.0), _clip()
    first = contrast([clip])
    assert list(first) == ["loss_reid"]
    assert len(contrast.memory.of(7)) == len(contrast.memory.of(2)) == 4
    assert contrast([clip])["loss_reid"] != first["loss_reid"]
    first["loss_reid"].backward()
    assert clip.embeddings.grad.abs().sum() > 0


def test_no_pairs_give_a_zero_with_graph() -> None:
    clip = _clip()
    none = torch.zeros(0, dtype=torch.int64)
    loss = TrackContrast()([clip._replace(pairs=Assignment(none, none))])["loss_reid"]
    loss.backward()
    assert loss == 0
