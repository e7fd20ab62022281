"""Invariances and edge cases of a step; values are held to the golden arrays elsewhere."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dvis_daq.structures import FrameOutputs
from dvis_daq.tracker.appearance import AppearanceMemory
from dvis_daq.tracker.bank import TrackBank
from dvis_daq.tracker.daq import DAQTracker
from dvis_daq.tracker.state import Lifecycle, TrackState, advance, tracker_1
from tests.unit.tracker.tiny_tracker import (
    BACKGROUND,
    CLASSES,
    LIFE,
    WIDTH,
    follow,
    make_tracker,
    make_video,
    permuted,
)


def same_states(a: TrackState, b: TrackState) -> None:
    assert a.ids.tolist() == b.ids.tolist()
    assert (a.next_id, a.frame, a.missed.tolist()) == (b.next_id, b.frame, b.missed.tolist())
    torch.testing.assert_close(a.queries, b.queries)
    for x, y in zip(vars(a.appearance).values(), vars(b.appearance).values(), strict=True):
        torch.testing.assert_close(x, y)


def crowd(tracks: int) -> TrackState:
    """A later frame's state with any number of tracks."""
    memory = AppearanceMemory.start(torch.randn(tracks, WIDTH, dtype=torch.float64), 9)
    queries = torch.randn(tracks, WIDTH, dtype=torch.float64)
    none = torch.zeros(tracks, dtype=torch.int64)
    return TrackState(torch.arange(tracks), queries, memory, none, tracks, 1)


@given(st.permutations(range(6)))
@settings(max_examples=10, deadline=None)
def test_permuting_candidates_permutes_nothing_else(order: list[int]) -> None:
    tracker, video, order = make_tracker(), make_video(1, seed=1), torch.tensor(order)
    state = crowd(4)
    with torch.no_grad():
        step, other = tracker.step(state, video), tracker.step(state, permuted(video, order))
    rows = torch.cat([torch.arange(4), 4 + order])
    torch.testing.assert_close(other.tracked.logits, step.tracked.logits[:, rows])
    torch.testing.assert_close(other.tracked.masks, step.tracked.masks[:, rows])
    torch.testing.assert_close(other.appearance, step.appearance[rows])
    torch.testing.assert_close(other.disappearing.logits, step.disappearing.logits)
    assert torch.equal(other.anchors, step.anchors)


def test_permuting_the_candidates_of_a_video_renames_tracks_only() -> None:
    tracker, video = make_tracker(), make_video(4)
    other = permuted(video, torch.tensor([3, 1, 5, 0, 2, 4]))
    state, again = follow(tracker, video)[-1][0], follow(tracker, other)[-1][0]
    assert sorted(state.missed.tolist()) == sorted(again.missed.tolist())
    distance = torch.cdist(state.queries, again.queries)
    assert (distance.amin(1) < 1e-9).all()
    assert (distance.amin(0) < 1e-9).all()


@pytest.mark.parametrize("cut", [1, 3, 4])
def test_pausing_and_resuming_changes_nothing(cut: int) -> None:
    tracker, video = make_tracker(), make_video(6)
    whole = follow(tracker, video)[-1][0]
    paused = follow(tracker, video[:cut])[-1][0]
    follow(tracker, make_video(3, seed=9))  # another video in between
    same_states(follow(tracker, video[cut:], paused)[-1][0], whole)


def test_tracks_live_and_die_in_these_videos() -> None:
    """Guards the tests above: they would be empty with nobody there, or nobody lost."""
    done = follow(make_tracker(), make_video(6))
    assert all(len(state) > 0 for state, *_ in done)
    assert done[-1][0].next_id > len(done[-1][0])


def test_first_frame_has_neither_anchors_nor_tracker_2() -> None:
    tracker, video = make_tracker(), make_video(1)
    step = follow(tracker, video)[0][1]
    assert step.num_tracked == 0
    assert step.disappearing is None
    assert step.anchors is None
    with torch.no_grad():
        tracker.emergence_query.weight.normal_()
        tracker.background_queries.weight.normal_()
    again = follow(tracker, video)[0][1]
    assert torch.equal(step.tracked.logits, again.tracked.logits)


def test_no_track_later_on_leaves_the_anchors_and_the_background() -> None:
    tracker, video = make_tracker(), make_video(3)
    nobody = Lifecycle(accept=tracker_1, score=1.0, first_score=1.0)
    for state, step, seen, rows in follow(tracker, video, life=nobody):
        assert len(state) == len(rows) == int(seen.sum()) == 0
        assert len(step.tracked) == 6
    assert len(step.disappearing) == BACKGROUND


def test_a_frame_without_candidates() -> None:
    tracker, video = make_tracker(), make_video(2)
    empty = FrameOutputs(
        embeds=video.embeds[:1, :0],
        logits=video.logits[:1, :0],
        masks=video.masks[:1, :0],
        mask_features=video.mask_features[:1],
        initial_queries=video.initial_queries[:0],
    )
    state, step, *_ = follow(tracker, empty)[0]
    assert (len(state), len(step.tracked), state.frame) == (0, 0, 1)


def test_empty_masks_have_a_finite_appearance() -> None:
    tracker, video = make_tracker(), make_video(2)
    video.masks.fill_(-1.0)
    state = follow(tracker, video)[-1][0]
    assert state.appearance.mean.isfinite().all()


@pytest.mark.parametrize("tracks", [1, 1000])
def test_any_number_of_tracks(tracks: int) -> None:
    tracker, video, state = make_tracker(), make_video(1), crowd(tracks)
    with torch.no_grad():
        step = tracker.step(state, video)
    assert step.tracked.logits.shape == (1, tracks + 6, CLASSES + 1)
    assert step.disappearing.logits.shape == (1, tracks + BACKGROUND, CLASSES + 1)
    after, _ = advance(state, step, LIFE.seen(state, step, video), patience=1)
    assert after.queries.isfinite().all()


def test_tracks_do_not_depend_on_their_order() -> None:
    tracker, video, state = make_tracker(), make_video(1), crowd(4)
    order = torch.tensor([2, 0, 3, 1])
    shuffled = TrackState(
        state.ids[order],
        state.queries[order],
        state.appearance.select(order),
        state.missed,
        state.next_id,
        state.frame,
    )
    with torch.no_grad():
        step, other = tracker.step(state, video), tracker.step(shuffled, video)
    torch.testing.assert_close(other.tracked.logits[:, :4], step.tracked.logits[:, order])
    torch.testing.assert_close(other.disappearing.logits[:, :4], step.disappearing.logits[:, order])


def test_training_predicts_every_layer() -> None:
    tracker, video = make_tracker(layers=3), make_video(2)
    evaluated = follow(tracker, video)
    trained = follow(tracker.train(), video)
    for (_, step, *_), (_, deep, *_) in zip(evaluated, trained, strict=True):
        assert deep.tracked.logits.shape[0] == 4  # the input of layer 1, and three outputs
        torch.testing.assert_close(deep.tracked.logits[-1:], step.tracked.logits)
        torch.testing.assert_close(deep.tracked.masks[-1:], step.tracked.masks)
    assert trained[1][1].disappearing.logits.shape[0] == 3  # outputs only
    first = tracker.head(video.embeds[:1], tracker.mask_feature_proj(video.mask_features[:1]))
    torch.testing.assert_close(trained[0][1].tracked.logits[0], first.logits[0])


def test_hidden_candidates_are_hidden_from_tracker_2_alone() -> None:
    tracker, video, state = make_tracker(), make_video(1), crowd(3)
    hidden = torch.tensor([False, True, False, False, True, False])
    other = replace(video, embeds=video.embeds + hidden[:, None])
    with torch.no_grad():
        step = tracker.step(state, video)
        blind, blinder = tracker.step(state, video, hidden), tracker.step(state, other, hidden)
    assert torch.equal(step.tracked.logits, blind.tracked.logits)
    assert not torch.equal(step.disappearing.logits, blind.disappearing.logits)
    assert torch.equal(blind.disappearing.logits, blinder.disappearing.logits)
    assert not torch.equal(blind.tracked.logits, blinder.tracked.logits)


def test_hiding_all_candidates_hides_none() -> None:
    tracker, video, state = make_tracker(), make_video(1), crowd(3)
    with torch.no_grad():
        step = tracker.step(state, video)
        blind = tracker.step(state, video, torch.ones(6, dtype=torch.bool))
    assert torch.equal(step.disappearing.logits, blind.disappearing.logits)


def test_gradients_reach_every_parameter_through_two_frames() -> None:
    tracker, video = make_tracker().train(), make_video(3)
    state, total = tracker.start(), 0.0
    for frame in video:
        step = tracker.step(state, frame)
        total = total + step.tracked.logits.square().sum() + step.tracked.masks.square().sum()
        if step.disappearing is not None:
            total = total + step.disappearing.logits.square().sum()
        seen = torch.ones(len(step.tracked), dtype=torch.bool)
        state, _ = advance(state, step, seen, patience=1)
    total.backward()
    without = [name for name, p in tracker.named_parameters() if p.grad is None]
    assert without == []


def test_autocast_leaves_the_state_in_float32() -> None:
    tracker = make_tracker().float()
    video = make_video(3)
    video = FrameOutputs(**{n: v.float() for n, v in vars(video).items() if v is not None})
    with torch.autocast("cpu", torch.bfloat16):
        done = follow(tracker, video)
    state, step, *_ = done[-1]
    assert step.tracked.logits.dtype == torch.bfloat16
    assert {state.queries.dtype, state.appearance.mean.dtype} == {torch.float32}
    bank = TrackBank()
    for after, step, seen, rows in done:
        bank.add(after, step, rows, seen)
    assert bank.drain().logits.dtype == torch.float32


def test_more_than_one_frame_is_refused() -> None:
    tracker = make_tracker()
    with pytest.raises(ValueError, match="got 2"):
        tracker.step(tracker.start(), make_video(2))


def test_tracker_sizes_are_those_of_the_paper() -> None:
    """Tab. A4b: tracker 1 has 9.94 M parameters with heads and embeddings, tracker 2 8.68 M."""
    tracker = DAQTracker(hidden_dim=256, mask_dim=256, num_classes=25)
    total = sum(p.numel() for p in tracker.parameters())
    second = sum(p.numel() for p in tracker.disappearance.parameters())
    second += tracker.background_queries.weight.numel()
    assert round(second / 1e6, 2) == 8.68
    assert round((total - second) / 1e6, 2) == 9.94
