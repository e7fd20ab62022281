"""tools/report.py: a file from what the other tools write, and one line for each mistake."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.tools.scripts import load_script
from tests.unit.report.scene import write

report = load_script("tools/report.py")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("report")
    paths = write(folder)
    run = folder / "tracker"
    run.mkdir()
    paths["metrics"] = run / "metrics.json"
    paths["metrics"].write_text('{"iteration": 19, "total_loss": 2.5}\n')
    return paths


def made(files: dict[str, Path], *arguments: str) -> dict[str, Any]:
    """The data of the report."""
    output = files["tracks"].parent / "made" / "report.html"
    report.main([*arguments, "--output", str(output)])
    text = output.read_text()
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_tracks_alone(files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    data = made(files, "--tracks", str(files["tracks"]))
    assert "report.html (0.1 MB, 1 clips, 3 tracks)" in capsys.readouterr().out
    assert data["title"] == "clip" and data["figures"] is None and data["runs"] == []
    (clip,) = data["clips"]
    assert clip["truth"] is None and len(clip["pictures"]) == 10


def test_tracks_with_ground_truth_and_curves(files: dict[str, Path]) -> None:
    gt, run = str(files["gt"]), str(files["metrics"])
    data = made(files, "--tracks", str(files["tracks"]), "--gt", gt, "--score", "0.5",
                "--runs", run, f"second={run}", "--title", "mine")  # fmt: skip
    (clip,) = data["clips"]
    assert [track["id"] for track in clip["tracks"]] == [1, 2]
    assert [one["track"] for one in clip["truth"]["objects"]] == [1, 2, None]
    assert [run["name"] for run in data["runs"]] == ["tracker", "second"]
    assert data["title"] == "mine"


def test_results_are_scored(files: dict[str, Path]) -> None:
    data = made(files, "--results", str(files["results"]), "--gt", str(files["gt"]),
                "--images", str(files["images"]))  # fmt: skip
    assert data["clips"][0]["truth"]["video"] == 7
    assert data["figures"]["events"]["presence"]["emerging"] == 2
    assert data["figures"]["per_class"]["1"]["AP"] == pytest.approx(1.0)


def test_frames_may_be_elsewhere(files: dict[str, Path], tmp_path: Path) -> None:
    moved = json.loads(files["tracks"].read_text())
    moved["video"]["source"] = "gone.mp4"
    path = tmp_path / "tracks.json"
    path.write_text(json.dumps(moved))
    assert "gone.mp4: no such folder" in mistake(["--tracks", str(path)])
    frames = str(files["images"] / "clip")
    assert len(made(files, "--tracks", str(path), "--input", frames)["clips"]) == 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--tracks", "nowhere.json"], "nowhere.json"),
        (["--runs", "nowhere.json"], "nowhere.json"),
        (["--runs", "a={gt}"], "no figures"),
        (["--figures", "{gt}"], "no figures of one data set"),
        (["--tracks", "{gt}"], "no tracks file"),
        (["--tracks", "{tracks}", "--size", "0.0001"], "tracks alone"),
        (["--tracks", "{tracks}", "--gt", "{gt}", "--videos", "8"], "no videos with the ids [8]"),
        (["--tracks", "{tracks}", "--gt", "{gt}", "--videos", "7,8"], "names 2 videos, --tracks 1"),
    ],
)
def test_a_mistake_is_one_line(files: dict[str, Path], arguments: list[str], message: str) -> None:
    assert message in mistake([text.format(**files) for text in arguments])


@pytest.mark.parametrize(
    "arguments",
    [[], ["--results", "r.json"], ["--trace", "t", "--runs", "r"], ["--input", "x", "--runs", "r"]],
)
def test_wrong_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        report.main(arguments)
    assert end.value.code == 2


def mistake(arguments: list[str]) -> str:
    with pytest.raises(SystemExit) as end:
        report.main(arguments)
    assert isinstance(end.value.code, str) and end.value.code.startswith("error: ")
    assert len(end.value.code.splitlines()) == 1
    return end.value.code


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        report.main(["--help"])
    assert end.value.code == 0 and "Examples:" in capsys.readouterr().out
