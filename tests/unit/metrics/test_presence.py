"""Each figure of assigned tracks, worked out by hand."""

import pytest

from dvis_daq.metrics.presence import MissedEmergence, Presence, assign
from tests.unit.metrics.scene import A_THIRD, A, B, scene

LATE = [None, None, A, A, A, A]
GAP = [A, A, None, None, A, A]


def presence(objects: list, found: list) -> Presence:
    _, overlap = scene(objects, found)
    result = Presence()
    result.add(overlap)
    return result


def test_assignment_maximises_the_sum() -> None:
    # 0.9 overlaps both objects, 0.8 the first only: the sum is best if 0.9 leaves it the first
    objects = [[A, A], [B, B]]
    found = [(0.9, [A, B]), (0.8, [A, A])]
    _, overlap = scene(objects, found)
    assert assign(overlap) == {0: 1, 1: 0}


def test_assignment_needs_score_and_overlap() -> None:
    barely = (3, 3, 4, 4)  # IoU with A: 1 / 31
    _, overlap = scene([[A], [B]], [(0.29, [A]), (0.9, [barely])])
    assert assign(overlap) == {}
    _, overlap = scene([[A], [None]], [(0.3, [A]), (0.9, [B])])
    assert assign(overlap) == {0: 1}


def test_ghost_frames_by_phase() -> None:
    track = [None, None, A, None, A, None]
    shown = [B, None, A, B, A, B]
    result = presence([track], [(0.9, shown)])
    assert result.absent == {"before": 2, "gap": 1, "after": 1}
    assert result.ghosts == {"before": 1, "gap": 1, "after": 1}
    assert result.figures()["ghost_rate"] == 3 / 4
    assert result.figures()["ghost_rate_before"] == 1 / 2


def test_objects_without_a_track_have_no_ghosts() -> None:
    result = presence([LATE], [(0.2, [B, B, A, A, A, A])])
    assert sum(result.absent.values()) == 0
    assert result.figures()["ghost_rate"] is None
    assert (result.objects, result.assigned) == (1, 0)


@pytest.mark.parametrize(
    ("shown", "hit", "latencies"),
    [
        (LATE, 1, [0]),
        ([None, None, None, A, A, A], 1, [1]),
        ([None, None, A_THIRD, A_THIRD, A, A], 0, [2]),
        ([None, None, A_THIRD, A_THIRD, A_THIRD, A_THIRD], 0, []),
        ([B, None, None, None, None, None], 0, []),
    ],
)
def test_emergence_and_latency(shown: list, hit: int, latencies: list[int]) -> None:
    result = presence([LATE], [(0.9, shown)])
    assert (result.emerging, result.emerging_hit) == (1, hit)
    assert result.latencies == latencies
    assert result.missed == ([] if hit else [MissedEmergence(1, 1, 1, 2)])


def test_mean_latency() -> None:
    late_too = [None, None, B, B, B, B]
    found = [(0.9, LATE), (0.8, [None, None, None, None, None, B])]
    figures = presence([LATE, late_too], found).figures()
    assert figures["latency_mean"] == 1.5
    assert figures["latency_known"] == 2
    assert figures["emergence_recall"] == 0.5


@pytest.mark.parametrize(
    ("shown", "hit"),
    [
        ([A, A, A, None, None, None], 1),
        ([A, A, A, B, None, None], 1),  # may go one frame late
        ([A, A, A, B, B, None], 0),
        ([A, A, None, None, None, None], 1),  # or one early
        ([A, None, None, None, None, None], 0),
    ],
)
def test_disappearance(shown: list, hit: int) -> None:
    result = presence([[A, A, A, None, None, None]], [(0.9, shown)])
    assert (result.disappearing, result.disappearing_hit) == (1, hit)


@pytest.mark.parametrize(
    ("found", "reentries", "switches"),
    [
        ([(0.9, GAP)], 1, 0),
        ([(0.9, [A, A, None, None, None, None]), (0.8, [None] * 4 + [A, A])], 1, 1),
        ([(0.9, [A, None, None, None, None, A])], 1, 0),  # any frame of the runs
        ([(0.9, [A, A, None, None, None, None])], 0, 0),  # nothing after
        ([(0.9, [A, A] + [None] * 4), (0.2, [None] * 4 + [A, A])], 0, 0),  # too low a score
        ([(0.9, GAP), (0.8, GAP)], 1, 0),  # duplicates: the better one on both sides
    ],
)
def test_switch_on_reentry(found: list, reentries: int, switches: int) -> None:
    result = presence([GAP], found)
    assert (result.reentries, result.switches) == (reentries, switches)


def test_a_gap_is_between_two_visible_runs() -> None:
    track = [None, A, None, A, None, A]
    result = presence([track], [(0.9, track)])
    assert result.reentries == 2
    assert result.figures()["id_switch_rate"] == 0
