"""The comparison with recorded arrays finds what it should find."""

import numpy as np
import pytest

from tests.parity.golden.compare import compare, float64_tolerance
from tests.parity.golden.units_tracker import RULES, identical_tracks_as_sets


@pytest.mark.parametrize(
    ("ours", "tolerance", "ok"),
    [
        ([1.0, 2.00002], 1e-4, True),
        ([1.0, 2.00002], 1e-6, False),
        ([1.0, 2.002], None, True),  # float32
        ([1.0, 2.004], None, False),
        ([1.0, np.nan], 1e-4, False),
        ([1.0], 1e-4, False),
    ],
)
def test_floats(ours, tolerance, ok):
    assert compare("logits", np.array(ours), np.array([1.0, 2.0]), tolerance=tolerance).ok == ok


def test_what_is_not_produced_is_a_miss_and_inputs_are_not():
    golden = np.zeros(2)
    assert not compare("logits", None, golden, tolerance=1e-4).ok
    assert compare("logits", golden, golden).difference == "input"


def test_pixels_of_masks_are_decisions_in_float64():
    ours, golden = np.array([1e-7, 1.0]), np.array([-1e-7, 1.0])
    assert not compare("pred_masks_frame0", ours, golden, tolerance=1e-4).ok
    assert compare("pred_masks_frame0", ours, golden).ok
    assert compare("pred_logits", ours, golden, tolerance=1e-4).ok


def test_integers_are_equal_but_for_areas_in_float32():
    ours, golden = np.array([5, 7]), np.array([5, 6])
    assert not compare("match_query", ours, golden).ok
    assert compare("chain_mask_area", ours, golden).ok
    assert not compare("chain_mask_area", ours, golden, tolerance=1e-4).ok


def test_the_segmenter_is_held_closer_than_whole_models():
    assert float64_tolerance("segmenter_r50", "res3_mean") == 2e-7
    assert float64_tolerance("segmenter_r50_q100", "pred_masks_frame0") == 1e-5
    assert float64_tolerance("segmenter_r50_q100", "pred_logits") == 5e-6
    assert float64_tolerance("online_ovis_r50", "query_logits") == 1e-4


@pytest.mark.parametrize(
    ("recorded", "same"),
    [([4, 7, 3], True), ([7, 4, 3], True), ([4, 3, 7], False), ([4, 4, 3], False)],
)
def test_rows_of_identical_tracks_are_a_set(recorded, same):
    """Rows 0 and 1 are identical tracks; row 2 is background, without recorded logits."""
    ours, theirs = {}, {}
    for variant in RULES:
        ours |= {
            f"{variant}/slot_match": np.array([4, 7, 3]),
            f"{variant}/slot_logits": np.array([[40.0], [70.0]]),
            f"{variant}/slot_group": np.array([0, 0, 2]),
            f"{variant}/slot_stored": np.array([True, True, False]),
        }
        theirs |= {
            f"{variant}/slot_match": np.array(recorded),
            f"{variant}/slot_logits": 10.0 * np.array(recorded[:2])[:, None],
        }
    moved = identical_tracks_as_sets(theirs, ours)
    assert np.array_equal(moved["tracker_ovis/slot_match"], [4, 7, 3]) == same
    if same:
        assert moved["tracker_ovis/slot_logits"].tolist() == [[40.0], [70.0]]
