import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dvis_daq.structures import Assignment
from dvis_daq.training.simulation import (
    RELEASED_STAGES,
    Choice,
    Stage,
    emergence_survivors,
    hidden_candidates,
    only_frame,
    stage_at,
)

EARLY, LATE = RELEASED_STAGES


def pairs(query: list[int], target: list[int]) -> Assignment:
    return Assignment(torch.tensor(query), torch.tensor(target))


@pytest.mark.parametrize(
    ("iteration", "stage"), [(0, EARLY), (9_999, EARLY), (10_000, LATE), (10**6, LATE)]
)
def test_the_released_schedule(iteration, stage):
    assert stage_at(RELEASED_STAGES, iteration) is stage


def test_a_schedule_that_ends():
    with pytest.raises(ValueError, match="iteration 7 .* MODEL.EDS.STAGES"):
        stage_at([Stage(until=7)], 7)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"drop": "quarter"}, "DROP .* 'quarter'"),
        ({"hide": "all"}, "HIDE .* 'all'"),
        ({"drop": "half", "score": 0.1}, "SCORE 0.1 and DROP 'half'"),
        ({"frames": 1}, "FRAMES .* 1"),
    ],
)
def test_stages_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        Stage(**settings)


def test_the_lower_half_is_dropped():
    scores = torch.tensor([0.9, 0.1, 0.8, 0.2, 0.7])
    kept = emergence_survivors(scores, pairs([3, 0, 4], [0, 1, 2]), EARLY)
    assert kept.tolist() == [True, False, False, False, True]  # floor(3 / 2) = 1 goes


def test_without_a_rule_the_matched_rows_stay():
    kept = emergence_survivors(torch.rand(4), pairs([2, 1], [0, 1]), Stage())
    assert kept.tolist() == [False, True, True, False]


def test_with_a_score_all_rows_above_it_stay_matched_or_not():
    scores = torch.tensor([0.05, 0.1, 0.2, 0.9])
    kept = emergence_survivors(scores, pairs([0], [0]), LATE)
    assert kept.tolist() == [False, False, True, True]


def test_nobody_survives_where_nobody_is():
    nobody = pairs([], [])
    assert not emergence_survivors(
        torch.rand(3), Assignment(*(p.long() for p in nobody)), EARLY
    ).any()


@given(st.integers(2, 9), st.integers(2, 30), st.integers(0, 100))
def test_pieces_lie_in_the_clip(length, num_frames, seed):
    choice = Choice(torch.Generator().manual_seed(seed))
    piece = Stage(frames=length).piece(num_frames, choice)
    assert 0 <= piece.start < length and piece.stop <= num_frames
    assert piece.stop - piece.start == min(length, num_frames)


def test_pieces_begin_where_the_release_lets_them():
    starts = {EARLY.piece(5, Choice()).start for _ in range(60)}
    assert starts == {0, 1}
    assert Stage().piece(7, Choice()) == slice(0, 7)


def test_a_random_object_loses_all_its_candidates():
    resembles = torch.tensor([2, 0, -1, 2, 3])
    tracked = pairs([0, 1, 2, 5], [3, 2, 0, 1])
    chosen = set()
    for _ in range(60):
        hidden = hidden_candidates(resembles, tracked, LATE, Choice())
        assert hidden.candidates.tolist() == (resembles == hidden.target).tolist()
        chosen.add(hidden.target)
    assert chosen == {0, 1, 2, 3}


def test_three_tracks_are_too_few_to_hide_one():
    few = pairs([0, 1, 2], [0, 1, 2])
    assert hidden_candidates(torch.zeros(5), few, LATE, Choice()) is None


def test_only_the_late_stage_hides():
    tracked = pairs([0, 1, 2, 3], [0, 1, 2, 3])
    assert hidden_candidates(torch.zeros(5), tracked, EARLY, Choice()) is None


def test_tracker_2_is_never_left_blind():
    tracked = pairs([0, 1, 2, 3], [0, 1, 2, 3])
    resembles = torch.full((5,), 2)
    hidden = [hidden_candidates(resembles, tracked, LATE, Choice()) for _ in range(40)]
    assert any(h is None for h in hidden)
    assert all(h is None or not h.candidates.any() for h in hidden)


def test_a_continuous_disappearance_stays_with_its_object():
    stage = Stage(hide="continuous", hide_above=1)
    tracked, resembles = pairs([0, 1, 2], [5, 3, 4]), torch.tensor([3, 4, 5, 5])
    hidden = hidden_candidates(resembles, tracked, stage, Choice())
    for _ in range(20):
        again = hidden_candidates(resembles, tracked, stage, Choice(), earlier=hidden)
        assert again.target == hidden.target
    without = pairs([0, 1], [g for g in (5, 3, 4) if g != hidden.target])
    other = hidden_candidates(resembles, without, stage, Choice(), earlier=hidden)
    assert other.target in without.target


def test_a_single_disappearance_has_a_frame_after_the_first():
    one = Stage(hide="one")
    assert {only_frame(one, 4, Choice()) for _ in range(60)} == {1, 2, 3}
    assert only_frame(one, 1, Choice()) is None
    assert only_frame(LATE, 4, Choice()) is None


def test_choices_follow_their_generator():
    def draw(seed: int) -> list[int]:
        choice = Choice(torch.Generator().manual_seed(seed))
        return [choice(1000) for _ in range(5)]

    assert draw(3) == draw(3) != draw(4)
