"""The referring tracker: alignment, where gradient flows, and what a pause changes."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dvis_daq.structures import FrameOutputs
from dvis_daq.tracker.loop import TrackedFrame, track
from dvis_daq.tracker.referring import (
    ReferringTracker,
    Start,
    normed_candidates,
    raw_candidates,
)
from dvis_daq.tracker.state import EndlessLife
from tests.unit.tracker.tiny_tracker import CLASSES, MASK_DIM, WIDTH, make_video, permuted

REID = 4


def make_tracker(layers: int = 2) -> ReferringTracker:
    torch.manual_seed(0)
    tracker = ReferringTracker(
        hidden_dim=WIDTH + REID,
        mask_dim=MASK_DIM,
        num_classes=CLASSES,
        layers=layers,
        heads=4,
        feedforward_dim=32,
    )
    return tracker.double().eval()


def video(frames: int = 4, seed: int = 0, candidates: int = 6) -> FrameOutputs:
    """A random video whose frames resemble each other, with raw queries and re-id embeddings."""
    whole = make_video(frames, candidates, seed=seed)
    random = torch.Generator().manual_seed(seed + 100)
    first = 5 * torch.randn(candidates, WIDTH + REID, generator=random, dtype=torch.float64)
    drift = torch.randn(frames, *first.shape, generator=random, dtype=torch.float64)
    queries = first + 0.1 * drift
    return replace(
        whole, embeds=queries[..., :WIDTH], raw_embeds=2 * queries[..., :WIDTH],
        reid=queries[..., WIDTH:],
    )  # fmt: skip


def shuffled(whole: FrameOutputs, order: Tensor) -> FrameOutputs:
    return replace(
        permuted(whole, order), raw_embeds=whole.raw_embeds[:, order], reid=whole.reid[:, order]
    )


def follow(tracker: ReferringTracker, frames: FrameOutputs, state=None) -> list[TrackedFrame]:
    with torch.no_grad():
        return list(track(tracker, EndlessLife(), frames, state))


def test_candidates_are_object_query_and_reid() -> None:
    frames = video()
    torch.testing.assert_close(normed_candidates(frames)[..., :WIDTH], frames.embeds)
    torch.testing.assert_close(raw_candidates(frames)[..., WIDTH:], frames.reid)
    alone = replace(frames, reid=None)
    assert raw_candidates(alone).shape == (4, 6, WIDTH)
    with pytest.raises(ValueError, match="raw_embeds"):
        raw_candidates(replace(frames, raw_embeds=None))


def test_rows_follow_their_candidates_through_any_order() -> None:
    tracker, frames = make_tracker(), video()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    mixed = FrameOutputs.cat([frames[:2], shuffled(frames[2:], order)])
    plain, moved = follow(tracker, frames), follow(tracker, mixed)
    assert [done.step.candidates.tolist() for done in plain] == [list(range(6))] * 4
    assert moved[-1].step.candidates.tolist() == order.argsort().tolist()
    for a, b in zip(plain, moved, strict=True):
        torch.testing.assert_close(a.step.tracked.logits, b.step.tracked.logits)
        torch.testing.assert_close(a.step.tracked.masks, b.step.tracked.masks)


def test_every_row_lives_to_the_end() -> None:
    done = follow(make_tracker(), video())
    assert [frame.state.ids.tolist() for frame in done] == [list(range(6))] * 4
    assert [frame.rows.tolist() for frame in done] == [list(range(6))] * 4


def test_a_video_can_be_paused() -> None:
    tracker, frames = make_tracker(), video()
    whole = follow(tracker, frames)
    first = follow(tracker, frames[:2])
    second = follow(tracker, frames[2:], first[-1].state)
    torch.testing.assert_close(whole[-1].step.queries, second[-1].step.queries, rtol=0, atol=0)


def test_a_start_replaces_the_alignment_and_is_remembered() -> None:
    """Rows of frame 2 are told that they stand for others; frame 3 aligns with those."""
    tracker, frames = make_tracker(), video()
    [first] = follow(tracker, frames[:1])
    other = torch.tensor([1, 2, 3, 4, 5, 0])
    start = Start(raw_candidates(frames[1])[0, other], other)
    step = tracker.step(first.state, frames[1], start=start)
    torch.testing.assert_close(step.appearance, normed_candidates(frames[1])[0, other])
    state = replace(first.state, appearance=first.state.appearance.observe(
        step.appearance, torch.ones(6, dtype=torch.bool)
    ))  # fmt: skip
    assert tracker.step(state, frames[2]).candidates.tolist() == other.tolist()


def test_all_layers_in_training_and_gradient_through_the_frames() -> None:
    tracker, frames = make_tracker().train(), video()
    state = tracker.start()
    done = list(track(tracker, EndlessLife(), frames, state))
    assert done[0].step.tracked.logits.shape == (2, 6, CLASSES + 1)
    references = [frame.step.references for frame in done]
    [gradient] = torch.autograd.grad(references[-1].sum(), done[0].step.queries)
    assert gradient.abs().sum() > 0
    assert not done[-1].step.appearance.requires_grad


def test_several_frames_at_once_are_refused() -> None:
    tracker = make_tracker()
    with pytest.raises(ValueError, match="single frames, got 4"):
        tracker.step(tracker.start(), video())


def test_another_number_of_candidates_is_refused() -> None:
    tracker, frames = make_tracker(), video()
    [first] = follow(tracker, frames[:1])
    with pytest.raises(ValueError, match="6 chains cannot continue in 5"):
        tracker.step(first.state, video(1, candidates=5))
