"""`tools/eval.py` on label images, as on the command line."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dvis_daq.evaluation.pictures import write_grey, write_palette
from tests.tools.scripts import load_script
from tests.unit.metrics.panoptic_scene import segments_of, write_results, write_truth


def run(*arguments: str) -> None:
    load_script("tools/eval.py").main(arguments)


@pytest.fixture
def panoptic(tmp_path: Path) -> list[str]:
    ids = np.zeros((9, 6, 8), np.int64)
    ids[:, :3], ids[1:, 4:] = 7, 9
    listed = {v: [segments_of(frame, {7: 2, 9: 5}) for frame in ids] for v in "ab"}
    gt, masks = write_truth(tmp_path, {"a": ids, "b": ids}, listed)
    found, root = write_results(tmp_path, {"b": ids, "a": ids}, listed)
    paths = ("--gt", gt, "--gt-root", masks, "--results", found, "--results-root", root)
    return ["--task", "vps", "--workers", "1", *map(str, paths)]


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Perfect results of one video, semantic in `pred`, objects in `found`."""
    frame = np.zeros((6, 8), np.uint8)
    frame[2:4] = 1
    for t in range(9):
        write_grey(tmp_path / f"data/a/mask/{t}.png", frame + 1)
        write_grey(tmp_path / f"pred/a/{t}.png", frame)
        write_palette(tmp_path / f"Annotations/a/{t}.png", frame)
        write_palette(tmp_path / f"found/a/{t}.png", frame)
    (tmp_path / "val.txt").write_text("a")
    return tmp_path


def test_panoptic(panoptic: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out.json"
    run(*panoptic, "--events", "--videos", "b", "--json", str(out))
    figures = json.loads(out.read_text())
    for name in ("VPQ", "VPQ_released", "STQ", "STQ_released"):
        assert figures[name] == pytest.approx(1)
    assert figures["events"]["VPQ_ed"] == pytest.approx(1)
    assert figures["counts"]["videos"] == 1
    shown = capsys.readouterr().out
    assert "car (5)" in shown
    assert "ed things (1)" in shown


def test_semantic_and_objects(labels: Path, capsys: pytest.CaptureFixture) -> None:
    out = labels / "out.json"
    roots = ("--gt-root", str(labels / "data"), "--results-root", str(labels / "pred"))
    run("--task", "vss", "--gt", str(labels / "val.txt"), *roots, "--json", str(out))
    assert json.loads(out.read_text())["mIoU"] == 1
    roots = ("--gt-root", str(labels / "Annotations"), "--results-root", str(labels / "found"))
    run("--task", "vos", *roots, "--json", str(out))
    assert json.loads(out.read_text())["J&F"] == 1
    assert "J&F" in capsys.readouterr().out


def test_submission_and_figures(
    panoptic: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run(*panoptic, "--submission", str(tmp_path / "out.zip"), "--workers", "2")
    assert len(zipfile.ZipFile(tmp_path / "out.zip").namelist()) == 19
    shown = capsys.readouterr().out
    assert "out.zip: 19 files" in shown
    assert "VPQ_released" in shown


def test_submission_of_a_test_split(
    panoptic: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    gt = tmp_path / "gt.json"
    content = json.loads(gt.read_text())
    gt.write_text(json.dumps(content | {"annotations": []}))
    run(*panoptic, "--submission", str(tmp_path / "out.zip"))
    assert "VPQ" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--videos", "c"], r"no videos with the ids \['c'\]"),
        (["--results", "nowhere.json"], "nowhere.json"),
        (["--results-root", "nowhere"], r"nowhere/a/000\.png is missing"),
    ],
)
def test_bad_input_is_one_line(panoptic: list[str], extra: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message) as error:
        run(*panoptic, *extra)
    assert str(error.value).startswith("error: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--task", "vps", "--gt", "g", "--results", "r"],
        ["--task", "vss", "--gt", "g", "--results-root", "r"],
        ["--task", "vos", "--results-root", "r"],
        ["--task", "vss", "--gt", "g", "--gt-root", "m", "--results-root", "r", "--explain", "t"],
        ["--submission", "out.zip"],
    ],
)
def test_wrong_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        run(*arguments)
    assert error.value.code == 2
