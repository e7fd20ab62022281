"""Each definition on a scene of 6 frames, by hand."""

import numpy as np
import pytest

from dvis_daq.metrics.events import EdShare, EventRecall, Visibility, event_slices, hits
from dvis_daq.metrics.matching import match
from dvis_daq.metrics.overlap import overlaps
from dvis_daq.metrics.reading import parse_ground_truth
from tests.unit.metrics.scene import A_HALF, A_THIRD, A, B, annotations, scene

LATE = [None, None, A, A, A, A]  # emerges in frame 2
EARLY = [A, A, A, A, None, None]  # last seen in frame 3
GAP = [A, A, None, None, A, A]
ALWAYS = [A] * 6
NEVER = [None] * 6


def test_flags() -> None:
    tracks = [LATE, EARLY, GAP, ALWAYS, NEVER, [None, A, None, A, A, None]]
    visible = np.array([[box is not None for box in track] for track in tracks]).T
    seen = Visibility.of(visible)
    assert seen.emerging.tolist() == [True, False, False, False, False, True]
    assert seen.disappearing.tolist() == [False, True, False, False, False, True]
    assert seen.reappearing.tolist() == [False, False, True, False, False, True]
    assert seen.ed.tolist() == [True, True, True, False, False, True]
    assert seen.first[[0, 5]].tolist() == [2, 1]
    assert seen.last[[1, 5]].tolist() == [3, 4]


def recall(track: list, found: list, slack: int, **settings: float) -> EventRecall:
    _, overlap = scene([track], found)
    counts = EventRecall(slack, **settings)
    counts.add(overlap)
    return counts


def test_hit_needs_half() -> None:
    _, overlap = scene([[A, A, A]], [(0.9, [A_HALF, A_THIRD, None])])
    assert hits(overlap)[:, 0, 0].tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("boxes", "slack", "hit", "strict"),
    [
        (LATE, 0, 1, 1),
        ([None, B, A, A, A, A], 0, 1, 0),  # was there before
        ([None, B, A, A, A, A], 1, 1, 1),  # but not before first - 1
        ([None, None, None, A, A, A], 0, 0, 0),  # one frame late
        ([None, None, None, A, A, A], 1, 1, 1),
        ([None, None, A_THIRD, A, A, A], 0, 0, 0),
        (NEVER, 1, 0, 0),
    ],
)
def test_emergence(boxes: list, slack: int, hit: int, strict: int) -> None:
    counts = recall(LATE, [(0.1, boxes)], slack)
    assert (counts.emerging, counts.emerging_hit, counts.emerging_strict) == (1, hit, strict)
    assert counts.disappearing == 0


def test_strict_needs_both_from_one_prediction() -> None:
    found = [(0.9, [A, None, A, A, A, A]), (0.8, [None, None, None, None, A, A])]
    counts = recall(LATE, found, 0)
    assert (counts.emerging_hit, counts.emerging_strict) == (1, 0)


@pytest.mark.parametrize(
    ("boxes", "slack", "hit"),
    [
        (EARLY, 0, 1),
        ([A, A, A, A, B, None], 0, 0),  # a ghost in the first frame without the object
        ([A, A, A, A, B, None], 1, 1),  # gone one frame late
        ([A, A, A, None, None, None], 0, 0),  # gone one frame early
        ([A, A, A, None, None, None], 1, 1),
        (ALWAYS, 1, 0),
    ],
)
def test_disappearance(boxes: list, slack: int, hit: int) -> None:
    counts = recall(EARLY, [(0.1, boxes)], slack)
    assert (counts.disappearing, counts.disappearing_hit, counts.emerging) == (1, hit, 0)


def test_disappearance_in_the_last_but_one_frame_looks_at_the_last() -> None:
    track = [A, A, A, A, A, None]
    assert recall(track, [(0.1, track)], 1).disappearing_hit == 1
    assert recall(track, [(0.1, ALWAYS)], 1).disappearing_hit == 0


def test_low_scores_can_be_left_out() -> None:
    assert recall(LATE, [(0.2, LATE)], 0, min_score=0.3).emerging_hit == 0
    assert recall(LATE, [(0.3, LATE)], 0, min_score=0.3).emerging_hit == 1


def test_figures_of_no_event() -> None:
    figures = recall(ALWAYS, [(0.9, ALWAYS)], 0).figures()
    assert figures["emerging_recall"] is None
    assert figures["disappearing_recall"] is None


def test_crowd_has_no_events() -> None:
    data = annotations({"boxes": LATE, "iscrowd": 1}, {"boxes": EARLY}, length=6)
    counts, share = EventRecall(0), EdShare()
    for overlap in overlaps(parse_ground_truth(data), []):
        counts.add(overlap)
        share.add(overlap)
    assert (counts.emerging, counts.disappearing) == (0, 1)
    assert share.counts == {1: (1, 1)}


def test_share_of_videos() -> None:
    tracks = [LATE, ALWAYS, ALWAYS, NEVER]
    data = annotations(
        *({"boxes": track, "category_id": 1 + n % 2} for n, track in enumerate(tracks)),
        {"boxes": GAP, "video_id": 2},
        length=6,
        videos=3,
    )
    share = EdShare()
    for overlap in overlaps(parse_ground_truth(data), []):
        share.add(overlap)
    assert share.counts == {1: (1, 3), 2: (1, 1)}
    assert share.videos(1 / 3) == [1, 2]
    assert share.videos(0.4) == [2]


def test_objects_without_the_flag_are_ignored_in_the_track_form() -> None:
    slices = event_slices()
    _, overlap = scene([LATE, ALWAYS], [(0.9, LATE)])
    matches = match(overlap, (slices["emerging"], slices["emergings"], slices["disappearing"]))
    assert matches.actual.tolist() == [1, 1, 0]
