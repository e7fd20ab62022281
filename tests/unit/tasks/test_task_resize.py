import pytest
import torch
from torch.nn import functional as F

from dvis_daq.structures import FrameSizes
from dvis_daq.tasks.resize import by_frames, by_tracks, resized, resized_probabilities, unpadded
from tests.unit.tasks.tiny_prediction import SIZES


def test_padding_is_cut_before_the_second_resize() -> None:
    masks = torch.randn(2, 3, 8, 8)
    first = F.interpolate(masks, (32, 32), mode="bilinear", align_corners=False)[..., :24, :30]
    assert torch.equal(unpadded(masks, SIZES), first)
    second = F.interpolate(first, (48, 60), mode="bilinear", align_corners=False)
    assert torch.equal(resized(masks, SIZES), second)


def test_probabilities_are_resized_after_the_sigmoid() -> None:
    masks = 5 * torch.randn(1, 1, 8, 8)
    probability = resized_probabilities(masks, SIZES)
    assert not torch.allclose(probability, resized(masks, SIZES).sigmoid(), atol=1e-3)
    assert 0 <= probability.amin() <= probability.amax() <= 1


@pytest.mark.parametrize("budget", [1, 2 * 48 * 60 * 2, 10**9])
@pytest.mark.parametrize("resize", [resized, resized_probabilities])
def test_pieces_make_the_whole(budget: int, resize) -> None:
    masks = torch.randn(2, 5, 8, 8)
    pieces = list(by_frames(masks, SIZES, resize, budget))
    assert [frame for piece, _ in pieces for frame in range(*piece.indices(5))] == list(range(5))
    assert max(p.shape[1] for _, p in pieces) == {1: 1, 2 * 48 * 60 * 2: 2, 10**9: 5}[budget]
    torch.testing.assert_close(torch.cat([p for _, p in pieces], 1), resize(masks, SIZES))


@pytest.mark.parametrize(("tracks_at_once", "frames_at_once"), [(1, 1), (2, 1), (3, 1), (3, 2)])
def test_a_frame_may_be_cut_too(tracks_at_once: int, frames_at_once: int) -> None:
    masks = torch.randn(3, 5, 8, 8)
    budget = 48 * 60 * tracks_at_once * frames_at_once
    whole, found, largest = resized(masks, SIZES), torch.zeros(3, 5, 48, 60), 0
    order = []
    for frames, tracks, piece in by_tracks(masks, SIZES, resized, budget):
        found[tracks, frames] = piece
        order.append((frames.start, tracks.start))
        largest = max(largest, piece.numel())
    torch.testing.assert_close(found, whole)
    assert largest <= budget
    assert order == sorted(order)


def test_half_precision_is_computed_in_float32() -> None:
    assert resized(torch.randn(1, 1, 8, 8).half(), SIZES).dtype == torch.float32


@pytest.mark.parametrize("shape", [(0, 2, 8, 8), (2, 0, 8, 8)])
def test_nothing_to_resize(shape: tuple[int, ...]) -> None:
    assert resized(torch.zeros(shape), SIZES).shape == (*shape[:2], 48, 60)
    sizes = FrameSizes((32, 32), (32, 32), (32, 32))
    assert sum(p.numel() for _, p in by_frames(torch.zeros(shape), sizes, resized)) == 0
