import pytest

from dvis_daq.metrics.matching import match
from dvis_daq.metrics.overlap import overlaps
from dvis_daq.metrics.reading import parse_ground_truth, parse_results
from dvis_daq.metrics.video_ap import (
    Curves,
    accumulate,
    area_slices,
    figures,
    occlusion_slices,
    per_class,
)
from tests.unit.metrics.scene import A_HALF, A, B, annotations, results


def curves(tracks: list[dict], found: list[dict], *, videos: set[int] | None = None) -> Curves:
    slices = area_slices() | occlusion_slices()
    truth = parse_ground_truth(annotations(*tracks, length=1, videos=3))
    pairs = overlaps(truth, parse_results(results(*found), truth))
    matches = [match(pair, tuple(slices.values())) for pair in pairs]
    return accumulate(matches, names=slices, categories=truth.categories, videos=videos)


def test_perfect() -> None:
    result = figures(curves([{"boxes": [A]}, {"boxes": [B]}], [{"boxes": [B]}, {"boxes": [A]}]))
    assert result["AP"] == pytest.approx(1)
    assert result["AR100"] == 1
    assert result["AR1"] == 0.5  # one prediction per video and category
    assert result["APs"] == pytest.approx(1)
    assert result["APm"] is None
    assert result["ARl"] is None


def test_precision_by_hand() -> None:
    # right, wrong, right: precision 1 up to recall 1/2, then 2/3 up to 1
    tracks = [{"boxes": [A]}, {"boxes": [A], "video_id": 2}]
    found = [
        {"boxes": [A], "score": 0.9},
        {"boxes": [B], "score": 0.8},
        {"boxes": [A], "score": 0.7, "video_id": 2},
    ]
    expected = (51 * 1 + 50 * 2 / 3) / 101
    result = figures(curves(tracks, found))
    assert result["AP"] == pytest.approx(expected, abs=1e-12)
    assert result["AP50"] == pytest.approx(expected, abs=1e-12) == result["AP75"]


def test_thresholds_by_hand() -> None:
    # IoU 1/2 counts at 0.50 alone
    result = figures(curves([{"boxes": [A]}], [{"boxes": [A_HALF]}]))
    assert result["AP50"] == pytest.approx(1)
    assert result["AP"] == pytest.approx(0.1)
    assert result["AP75"] == 0
    assert result["AR100"] == pytest.approx(0.1)


def test_ties_over_videos_go_by_video_id() -> None:
    tracks = [{"boxes": [A], "video_id": 1}]
    good = {"boxes": [A], "video_id": 1, "score": 0.5}
    bad = {"boxes": [B], "video_id": 2, "score": 0.5}
    for order in ([good, bad], [bad, good]):
        assert figures(curves(tracks, order))["AP"] == pytest.approx(1)


def test_a_class_without_objects_is_left_out() -> None:
    found = [{"boxes": [A]}, {"boxes": [A], "category_id": 2}]
    table = per_class(curves([{"boxes": [A]}], found))
    assert table[1]["AP"] == pytest.approx(1)
    assert table[2] == {"AP": None, "AP50": None, "AP75": None, "AR100": None}
    assert figures(curves([{"boxes": [A]}], found))["AP"] == pytest.approx(1)


def test_no_predictions_score_zero() -> None:
    result = figures(curves([{"boxes": [A]}], []))
    assert result["AP"] == result["AR1"] == result["AR100"] == 0


def test_an_object_that_is_never_visible_is_a_miss() -> None:
    result = figures(curves([{"boxes": [A]}, {"boxes": [None]}], [{"boxes": [A]}]))
    assert result["AR100"] == 0.5


def test_only_crowd_is_undefined() -> None:
    result = figures(curves([{"boxes": [A], "iscrowd": 1}], [{"boxes": [A]}]))
    assert set(result.values()) == {None}


def test_choice_of_videos() -> None:
    tracks = [{"boxes": [A]}, {"boxes": [A], "video_id": 2}]
    found = [{"boxes": [A]}, {"boxes": [B], "video_id": 2}]
    assert figures(curves(tracks, found, videos={1}))["AP"] == pytest.approx(1)
    assert figures(curves(tracks, found, videos={2}))["AP"] == 0
    assert figures(curves(tracks, found, videos={3}))["AP"] is None


def test_selected_slices_get_new_names() -> None:
    table = curves([{"boxes": [A], "occlusion": ["no_occlusion"]}], [{"boxes": [A]}])
    part = figures(table.select(["", "_light"]))
    assert list(part) == ["AP", "AP50", "AP75", "AP_light", "AR1", "AR10", "AR100", "AR_light"]
    assert part["AP_light"] == pytest.approx(1)
    renamed = table.select(["light"], prefix="_")
    assert renamed.names == ("light",)
    assert figures(table)["AP_heavy"] is None
