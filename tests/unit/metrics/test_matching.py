"""Matching by hand, and against the rules written out as literal loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvis_daq.metrics.matching import THRESHOLDS, Matches, Slice, _greedy, match
from dvis_daq.metrics.overlap import overlaps
from dvis_daq.metrics.reading import parse_ground_truth, parse_results
from tests.unit.metrics.scene import A_HALF, A_THIRD, A, B, annotations, results


def matched(tracks: list[dict], found: list[dict], one: Slice = Slice()) -> Matches:  # noqa: B008
    truth = parse_ground_truth(annotations(*tracks, length=1))
    (overlap,) = overlaps(truth, parse_results(results(*found), truth))
    return match(overlap, (one,))


def verdicts(matches: Matches, threshold: int = 0) -> str:
    """r right, w wrong, - ignored, one letter a prediction."""
    right, wrong = matches.right[0, threshold], matches.wrong[0, threshold]
    return "".join("r" if r else "w" if w else "-" for r, w in zip(right, wrong, strict=True))


def test_one_object_is_found_once_by_the_best_score() -> None:
    found = [{"boxes": [A], "score": 0.3}, {"boxes": [A_HALF], "score": 0.8}]
    matches = matched([{"boxes": [A]}], found)
    assert verdicts(matches) == "rw"  # IoU 0.5 reaches 0.50 and was first
    assert verdicts(matches, threshold=1) == "wr"  # but not 0.55
    assert matches.scores.tolist() == [0.8, 0.3]
    assert matches.actual.tolist() == [1]


def test_below_the_threshold_is_wrong() -> None:
    assert verdicts(matched([{"boxes": [A]}], [{"boxes": [A_THIRD]}, {"boxes": [B]}])) == "ww"


def test_crowd_absorbs_any_number() -> None:
    matches = matched([{"boxes": [A], "iscrowd": 1}], [{"boxes": [A]}, {"boxes": [A]}])
    assert verdicts(matches) == "--"
    assert matches.actual.tolist() == [0]


def test_a_real_object_is_preferred_to_a_better_crowd() -> None:
    tracks = [{"boxes": [A], "iscrowd": 1}, {"boxes": [A_HALF]}]
    assert verdicts(matched(tracks, [{"boxes": [A]}])) == "r"


def test_an_ignored_object_absorbs_one() -> None:
    never = Slice(keeps=lambda overlap: np.zeros(len(overlap.objects), bool))
    matches = matched([{"boxes": [A]}], [{"boxes": [A]}, {"boxes": [A]}], never)
    assert verdicts(matches) == "-w"
    assert matches.actual.tolist() == [0]


def test_equal_overlap_takes_the_later_object() -> None:
    # both halves of A overlap it by 1/2; once the later is taken, the earlier is left
    tracks = [{"boxes": [A_HALF]}, {"boxes": [(0, 2, 4, 2)]}]
    found = [{"boxes": [A], "score": 0.9}, {"boxes": [A_HALF], "score": 0.8}]
    assert verdicts(matched(tracks, found), threshold=0) == "rr"


def test_area_ranges_are_closed_and_ignore_unmatched_predictions_outside() -> None:
    tracks = [{"boxes": [A], "areas": [100.0]}]  # the json's area counts, not the mask's 16
    found = [{"boxes": [A], "score": 0.9}, {"boxes": [B], "score": 0.8}]
    assert verdicts(matched(tracks, found, Slice(area=(100.0, 200.0)))) == "r-"
    assert verdicts(matched(tracks, found, Slice(area=(16.0, 100.0)))) == "rw"
    assert verdicts(matched(tracks, found, Slice(area=(101.0, 200.0)))) == "--"
    assert verdicts(matched([{"boxes": [A]}], found, Slice(area=(16.0, 16.0)))) == "rw"


def test_occlusion_ignores_objects_but_never_predictions() -> None:
    tracks = [{"boxes": [A], "occlusion": ["slight_occlusion"]}]
    found = [{"boxes": [A], "score": 0.9}, {"boxes": [B], "score": 0.8}]
    assert verdicts(matched(tracks, found, Slice(occlusion=(0.25, 0.5)))) == "rw"
    assert verdicts(matched(tracks, found, Slice(occlusion=(0.5, 1.0)))) == "-w"


def test_hundred_predictions_at_most() -> None:
    found = [{"boxes": [B], "score": 0.9}] * 100 + [{"boxes": [A], "score": 0.8}]
    assert verdicts(matched([{"boxes": [A]}], found)) == "w" * 100


def literal(iou: np.ndarray, ignored: np.ndarray, crowd: np.ndarray, threshold: float) -> list[int]:
    """The rule for one slice and threshold, object by object."""
    order = [g for g in range(len(ignored)) if not ignored[g]]
    order += [g for g in range(len(ignored)) if ignored[g]]
    taken, owners = set(), []
    for row in iou:
        best, reached = -1, threshold
        for g in order:
            if g in taken and not crowd[g]:
                continue
            if best >= 0 and not ignored[best] and ignored[g]:
                break
            if row[g] >= reached:
                best, reached = g, row[g]
        taken.add(best)
        owners.append(best)
    return owners


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 6), st.integers(0, 5))
def test_same_as_literal_loops(seed: int, predictions: int, objects: int) -> None:
    rng = np.random.default_rng(seed)
    iou = rng.choice([0, 0.3, 0.5, 0.6, 0.7, 0.70000000001, 0.95, 1], size=(predictions, objects))
    crowd = rng.random(objects) < 0.2
    ignored = crowd | (rng.random((3, objects)) < 0.3)
    taken_by = _greedy(iou, ignored, crowd)
    for s in range(3):
        for h, threshold in enumerate(THRESHOLDS):
            assert taken_by[s, h].tolist() == literal(iou, ignored[s], crowd, threshold)


@pytest.mark.parametrize("tracks", [[], [{"boxes": [A], "category_id": 2}]])
def test_predictions_without_any_object(tracks: list[dict]) -> None:
    truth = parse_ground_truth(annotations({"boxes": [B], "category_id": 2}, *tracks, length=1))
    overlap = next(overlaps(truth, parse_results(results({"boxes": [A]}), truth)))
    assert verdicts(match(overlap, (Slice(),))) == "w"
