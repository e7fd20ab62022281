"""Figures of the public panoptic and semantic scripts on synthetic sets (`shared/reference/eval`)."""

import json
from pathlib import Path
from typing import Any

import pytest

from dvis_daq.evaluation.panoptic_scoring import score_panoptic_files
from dvis_daq.evaluation.semantic_scoring import score_semantic_files

EXACT = 1e-12  # double precision, of fractions; the tolerance of the reference is 1e-6


def close(value: float) -> Any:
    return pytest.approx(value, abs=EXACT, rel=0)


@pytest.fixture(scope="module")
def vps(reference_dir: Path) -> Path:
    return reference_dir / "eval" / "vps"


@pytest.fixture(scope="module")
def figures(vps: Path) -> dict[str, Any]:
    roots = {"truth_root": vps / "panomasksRGB", "results_root": vps / "pan_pred"}
    return score_panoptic_files(vps / "panoptic_gt.json", vps / "pred.json", **roots, events=True)


@pytest.fixture(scope="module")
def expected(vps: Path) -> dict[str, Any]:
    return json.loads((vps / "expected.json").read_text())


@pytest.fixture(scope="module")
def expected_ed(vps: Path) -> dict[str, Any]:
    return json.loads((vps / "expected_ed.json").read_text())


def test_windows(figures: dict[str, Any], expected: dict[str, Any]) -> None:
    assert figures["windows"].keys() == expected["vpq"].keys()
    for size, wanted in expected["vpq"].items():
        found = figures["windows"][size]
        for group in ("All", "Things", "Stuff"):
            assert found[group]["n"] == wanted[group]["n"]
            for name in ("pq", "sq", "rq"):
                assert 100 * found[group][name.upper()] == pytest.approx(
                    wanted[group][name], abs=1e-10
                )
        assert found["per_class"].keys() == wanted["per_class"].keys()
        for number, row in wanted["per_class"].items():
            mine = found["per_class"][number]
            assert {n: mine[n] for n in ("tp", "fp", "fn")} == {
                n: row[n] for n in ("tp", "fp", "fn")
            }
            assert mine["iou"] == pytest.approx(row["iou"], abs=1e-10)


@pytest.mark.parametrize(
    ("ending", "key"),
    [("", "vpq_mean_1_2_4_6"), ("_released", "vpq_mean_1_2_4_6_8_as_released")],
)
def test_both_averages(
    figures: dict[str, Any], expected: dict[str, Any], ending: str, key: str
) -> None:
    for name, group in (("VPQ", "All"), ("VPQ_Th", "Things"), ("VPQ_St", "Stuff")):
        assert 100 * figures[name + ending] == pytest.approx(expected[key][group], abs=1e-10)


def test_tracking_quality(figures: dict[str, Any], expected: dict[str, Any]) -> None:
    sound, released = expected["stq_instance_numbers_from_1"], expected["stq_as_released"]
    for name in ("STQ", "AQ", "SQ"):
        assert figures[name] == close(sound[name])
        assert figures[f"{name}_released"] == close(released[name])
        for video, value in sound[f"{name}_per_seq"].items():
            assert figures["per_video"][video][name] == close(value)


def test_emerging_and_disappearing(figures: dict[str, Any], expected_ed: dict[str, Any]) -> None:
    events = figures["events"]
    assert 100 * events["VPQ_ed"] == pytest.approx(expected_ed["vpq_ed_mean_1_2_4_6"], abs=1e-10)
    for size in ("1", "2", "4", "6"):
        wanted, found = expected_ed[size], events["windows"][size]
        assert 100 * found["PQ_ed"] == pytest.approx(wanted["vpq_ed"], abs=1e-10)
        assert (events["things"], events["ed_things"]) == (
            wanted["thing_tracks"],
            wanted["ed_tracks"],
        )
        for number, row in wanted["per_class"].items():
            mine = found["per_class"][number]
            assert {n: mine[n] for n in row} == pytest.approx(row, abs=1e-10)
    for share in ("0.3", "0.4", "0.5", "0.6"):
        wanted, found = expected_ed["video_subset"][share], events["videos"][share]
        assert found["video_ids"] == wanted["videos"]
        assert 100 * found["VPQ"] == pytest.approx(wanted["vpq_mean_1_2_4_6"], abs=1e-10)


def test_processes_and_choice_of_videos(
    vps: Path, figures: dict[str, Any], expected_ed: dict[str, Any]
) -> None:
    wanted = expected_ed["video_subset"]["0.4"]
    part = score_panoptic_files(
        vps / "panoptic_gt.json",
        vps / "pred.json",
        truth_root=vps / "panomasksRGB",
        results_root=vps / "pan_pred",
        videos=wanted["videos"],
        workers=2,
    )
    assert 100 * part["VPQ"] == pytest.approx(wanted["vpq_mean_1_2_4_6"], abs=1e-10)
    chosen = {video: figures["per_video"][video] for video in wanted["videos"]}
    assert part["per_video"] == chosen


def test_semantic(reference_dir: Path) -> None:
    vss = reference_dir / "eval" / "vss"
    wanted = json.loads((vss / "expected.json").read_text())
    roots = {"truth_root": vss / "data", "results_root": vss / "pred"}
    found = score_semantic_files(vss / "val.txt", **roots)
    for name in ("mIoU", "fwIoU", "Acc", "Acc_class", "VC8", "VC16", "VC16_as_released"):
        assert found[name] == close(wanted[name]), name
    for name in ("VC8_including_last_clip", "VC16_including_last_clip"):
        assert found[name] == close(wanted[name]), name
    per_class = {number: row["IoU"] for number, row in found["per_class"].items()}
    assert per_class == pytest.approx(wanted["per_class_iou"], abs=EXACT)
