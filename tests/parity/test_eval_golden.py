"""Figures of the public evaluators on synthetic sets (`shared/reference/eval`)."""

import json
from pathlib import Path
from typing import Any

import pytest

from dvis_daq.evaluation.scoring import score_files
from dvis_daq.metrics.events import FLAGS, Visibility
from dvis_daq.metrics.matching import MAX_PREDICTIONS
from dvis_daq.metrics.overlap import overlaps
from dvis_daq.metrics.reading import read_ground_truth, read_results

SETS = ("ytvis", "ovis")
EXACT = 1e-12  # double precision; the tolerance of the reference is 1e-6


@pytest.fixture(params=SETS)
def folder(request: pytest.FixtureRequest, reference_dir: Path) -> Path:
    return reference_dir / "eval" / request.param


@pytest.fixture
def expected(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "expected.json").read_text())


@pytest.fixture
def expected_ed(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "expected_ed.json").read_text())


def score(folder: Path, **options: Any) -> dict[str, Any]:
    return score_files(folder / "gt.json", folder / "predictions.json", **options)


def agree(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """The reference writes -1 or null for undefined."""
    for name, value in wanted.items():
        value = None if value == -1 else value
        assert found[name] == pytest.approx(value, abs=EXACT), name


def test_figures(folder: Path, expected: dict[str, Any]) -> None:
    figures = score(folder)
    agree(figures, expected["stats"])
    levels = expected.get("stats_ovis", {})
    agree(figures, {name.replace("_occ", ""): value for name, value in levels.items()})
    assert ("AP_heavy" in figures) == bool(levels)


def test_classes(folder: Path, expected: dict[str, Any]) -> None:
    table = score(folder)["per_class"]
    assert table.keys() == expected["per_class"].keys()
    for category, row in expected["per_class"].items():
        agree(table[category], row)


def test_every_overlap(folder: Path, expected: dict[str, Any]) -> None:
    truth = read_ground_truth(folder / "gt.json")
    found = read_results(folder / "predictions.json", truth)
    tables = [overlap.iou() for overlap in overlaps(truth, found, limit=MAX_PREDICTIONS)]
    wanted = expected["iou_checksum"]
    assert sum(table.sum() for table in tables) == pytest.approx(wanted["sum"], abs=1e-9)
    assert max(table.max(initial=0) for table in tables) == wanted["max"]
    assert sum(table.size for table in tables) == wanted["n"]


def test_split(folder: Path, expected: dict[str, Any]) -> None:
    wanted = expected["split"]
    figures = score(folder, long_videos=wanted["long_video_ids"])
    agree(figures["long"], wanted["long"])
    agree(figures["short"], wanted["short"])
    assert figures["AP_split"] == pytest.approx(wanted["AP_mean"], abs=EXACT)


def test_choice_of_videos_equals_its_part(folder: Path, expected: dict[str, Any]) -> None:
    wanted = expected["split"]
    agree(score(folder, videos=wanted["long_video_ids"]), wanted["long"])


def test_flags(folder: Path, expected_ed: dict[str, Any]) -> None:
    for overlap in overlaps(read_ground_truth(folder / "gt.json"), []):
        seen = Visibility.of(overlap.visible)
        for g, item in enumerate(overlap.objects):
            wanted = expected_ed["tracks"][str(item.id)]
            assert {flag: bool(getattr(seen, flag)[g]) for flag in FLAGS} == {
                flag: wanted[flag] for flag in FLAGS
            }
            assert seen.frames[g] == wanted["frames"]


def test_events(folder: Path, expected_ed: dict[str, Any]) -> None:
    events = score(folder, events=True)["events"]
    for flag, wanted in expected_ed["ap"].items():
        agree(events["ap"][flag], wanted)
    for share, wanted in expected_ed["ap_video_subset"].items():
        assert events["ap_videos"][share]["video_ids"] == wanted.pop("video_ids")
        agree(events["ap_videos"][share], wanted)
    for slack in ("recall_delta0", "recall_delta1"):
        found, wanted = events[slack], expected_ed[slack]
        assert found["emerging_recall"] == pytest.approx(wanted["emerging"], abs=EXACT)
        assert found["emerging_strict_recall"] == pytest.approx(
            wanted["emerging_strict"], abs=EXACT
        )
        assert found["disappearing_recall"] == pytest.approx(wanted["disappearing"], abs=EXACT)
        assert found["emerging"] == wanted["em_n"]
        assert found["disappearing"] == wanted["di_n"]


def test_same_as_trackeval_without_crowd(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("trackeval", reason="TrackEval is not installed")
    from benchmarks.peers import prepare_trackeval, run_trackeval

    truth = json.loads((folder / "gt.json").read_text())
    for annotation in truth["annotations"]:
        annotation["iscrowd"] = 0
    gt, results = tmp_path / "gt.json", folder / "predictions.json"
    gt.write_text(json.dumps(truth))
    prepare_trackeval(gt, results, tmp_path / "peer")
    agree(score_files(gt, results), run_trackeval(tmp_path / "peer"))
