from operator import attrgetter

import pytest
import torch

from dvis_daq.structures import FrameOutputs
from dvis_daq.tracker.embedding import EmbeddingTracker, most_similar
from dvis_daq.tracker.state import EndlessLife
from tests.unit.tracker.tiny_tracker import follow, make_video, permuted


def still(frames: int) -> FrameOutputs:
    """The same candidates in every frame, in another order in each."""
    one = make_video(1)
    orders = [torch.arange(6).roll(t) for t in range(frames)]
    return FrameOutputs.cat([permuted(one, order) for order in orders])


def test_chains_follow_their_query_through_any_order() -> None:
    video, tracker = still(4), EmbeddingTracker().double()
    for state, step, seen, rows in follow(tracker, video, life=EndlessLife()):
        assert state.ids.tolist() == rows.tolist() == list(range(6))
        assert seen.all()
        assert torch.equal(state.queries, video.embeds[0])
        assert torch.equal(step.tracked.logits[0], video.logits[0])
        assert torch.equal(step.tracked.masks[0, :, 0], video.masks[0])


def test_reference_is_the_last_frame_not_the_first() -> None:
    """Two queries turn by 40 degrees a frame: after two frames each is nearer the other's start."""
    angles = torch.tensor([[0.0, 90.0], [40.0, 130.0], [80.0, 170.0]]).deg2rad()
    turning = torch.stack([angles.cos(), angles.sin()], -1)  # (T, 2, 2)
    none = torch.zeros(3, 2, 1, 1)
    video = FrameOutputs(turning, none[..., 0], none, none, turning[0])
    state = follow(EmbeddingTracker(), video, life=EndlessLife())[-1][0]
    assert torch.equal(state.queries, turning[2])


def test_other_embeddings_can_be_compared() -> None:
    one = make_video(2)
    video = FrameOutputs(**(vars(one) | {"reid": one.embeds[:1].repeat(2, 1, 1)}))
    tracker = EmbeddingTracker(attrgetter("reid")).double()
    state = follow(tracker, video, life=EndlessLife())[-1][0]
    assert torch.equal(state.queries, video.reid[0])


def test_half_precision_is_compared_in_float32() -> None:
    rows = torch.randn(6, 16)
    with torch.autocast("cpu", torch.bfloat16):
        assert most_similar(rows, rows.bfloat16()).tolist() == list(range(6))


def test_a_changing_number_of_candidates_is_refused() -> None:
    with pytest.raises(ValueError, match="6 chains.*4 queries"):
        most_similar(torch.randn(6, 3), torch.randn(4, 3))


def test_it_follows_the_module_to_its_dtype_and_has_no_weights() -> None:
    tracker = EmbeddingTracker().double()
    assert tracker.start().queries.dtype == torch.float64
    assert tracker.state_dict() == {}
