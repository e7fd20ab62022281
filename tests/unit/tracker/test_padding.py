"""Padded rows change nothing."""

from __future__ import annotations

import pytest
import torch

from dvis_daq.engine.adaptation import compile_tracker
from dvis_daq.layers import QuerySoftmaxAttention, Shares, shares_of_keys, shares_of_queries
from dvis_daq.tracker.daq import DAQTracker
from dvis_daq.tracker.padding import RowPadding
from dvis_daq.tracker.state import TrackerStep
from tests.unit.tracker.test_daq import crowd, same_states
from tests.unit.tracker.tiny_tracker import follow, make_tracker, make_video


def steps_of(tracker: DAQTracker, tracks: int, hidden: torch.Tensor | None = None) -> TrackerStep:
    torch.manual_seed(tracks)
    state, video = crowd(tracks), make_video(1, seed=2)
    with torch.no_grad():
        return tracker.step(state, video, hidden)


def padded(tracker: DAQTracker, multiple: int) -> DAQTracker:
    tracker.padding = RowPadding(multiple)
    return tracker


def same_steps(found: TrackerStep, wanted: TrackerStep) -> None:
    assert found.disappearing is not None and wanted.disappearing is not None
    torch.testing.assert_close(found.queries, wanted.queries)
    torch.testing.assert_close(found.tracked.masks, wanted.tracked.masks)
    torch.testing.assert_close(found.appearance, wanted.appearance)
    torch.testing.assert_close(found.disappearing.logits, wanted.disappearing.logits)


@pytest.mark.parametrize("multiple", [2, 7, 32])
@pytest.mark.parametrize("tracks", [0, 1, 11, 40])
def test_a_step_is_the_same(multiple: int, tracks: int) -> None:
    plain = steps_of(make_tracker(), tracks)
    same_steps(steps_of(padded(make_tracker(), multiple), tracks), plain)


def test_with_hidden_candidates_too() -> None:
    hidden = torch.tensor([False, True, False, False, True, False])
    plain = steps_of(make_tracker(), 5, hidden)
    same_steps(steps_of(padded(make_tracker(), 16), 5, hidden), plain)


def test_a_video_is_the_same() -> None:
    video = make_video(6)
    plain, found = follow(make_tracker(), video), follow(padded(make_tracker(), 16), video)
    for a, b in zip(plain, found, strict=True):
        same_states(a[0], b[0])
        assert torch.equal(a[3], b[3])


def test_trackers_see_few_numbers_of_rows() -> None:
    tracker, seen = padded(make_tracker(), 16), set()
    for part in (tracker.emergence, tracker.disappearance):
        part.register_forward_pre_hook(lambda _, args: seen.add(len(args[0].feature)))
    for tracks in range(0, 40, 3):
        steps_of(tracker, tracks)
    assert seen == {16, 32, 48}


@pytest.mark.parametrize("shares", [shares_of_queries, shares_of_keys])
def test_absent_rows_of_tracker_2_neither_take_nor_give(shares: Shares) -> None:
    block = QuerySoftmaxAttention(32, 4, shares).double()
    x, position, anchors = torch.randn(3, 9, 32, dtype=torch.float64)
    memory, absent = torch.randn(6, 32, dtype=torch.float64), torch.arange(9) >= 5
    found = block(x, memory, position=position, anchors=anchors, absent=absent)
    alone = block(x[:5], memory, position=position[:5], anchors=anchors[:5])
    torch.testing.assert_close(found[:5], alone)
    assert found.isfinite().all()
    with_them = block(x, memory, position=position, anchors=anchors)
    assert not torch.allclose(with_them[:5], alone)


@pytest.mark.slow
def test_compiled_trackers_say_the_same() -> None:
    """Without a GPU there are no CUDA graphs, but the same compiled code."""
    video = make_video(5)
    plain, tracker = follow(make_tracker(), video), make_tracker()
    compile_tracker(tracker)
    for a, b in zip(plain, follow(tracker, video), strict=True):
        same_states(a[0], b[0])
