import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import dvis_daq.recipes  # noqa: F401  registers the methods
from dvis_daq.config import get_config
from dvis_daq.engine.setup import build_model
from tests.conftest import ROOT
from tests.tiny_run import tiny_config
from tests.tools.scripts import load_script
from tests.unit.metrics.scene import A, B, annotations, results

LATE = [None, A, A, A]


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    truth = annotations({"boxes": LATE}, {"boxes": [B] * 4, "video_id": 2}, length=4, videos=2)
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    found = results({"boxes": LATE}, {"boxes": [A] * 4, "video_id": 2})
    (tmp_path / "results.json").write_text(json.dumps(found))
    paths = [str(tmp_path / name) for name in ("gt.json", "results.json")]
    return ["--task", "vis", "--gt", paths[0], "--results", paths[1]]


def run(*arguments: str) -> None:
    load_script("tools/eval.py").main(arguments)


def test_table_and_json(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run(*files, "--json", str(tmp_path / "out.json"))
    assert "cat (1)" in capsys.readouterr().out
    figures = json.loads((tmp_path / "out.json").read_text())
    assert figures["AP"] == pytest.approx(51 / 101)
    names = ("AP50", "AP75", "APs", "AR1", "AR10", "AR100", "ARs")
    assert all(0 <= figures[name] <= 1 for name in names)
    assert [figures[name] for name in ("APm", "APl", "ARm", "ARl")] == [None] * 4


def test_some_videos(files: list[str], tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("1\n")
    for ids in ("1", str(tmp_path / "ids.txt")):
        run(*files, "--videos", ids, "--json", str(tmp_path / "out.json"))
        assert json.loads((tmp_path / "out.json").read_text())["AP"] == pytest.approx(1)


def test_events_and_parts(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run(*files, "--events", "--long-videos", "1", "--json", str(tmp_path / "out.json"))
    figures = json.loads((tmp_path / "out.json").read_text())
    assert figures["events"]["presence"]["emergence_recall"] == 1
    assert figures["AP_split"] == pytest.approx(0.5)
    assert "ghost frames" in capsys.readouterr().out


def test_explanation(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "results.json").write_text("[]")
    lines = [
        {"video_id": 1, "frame": frame, "candidates": [], "newcomers": []} for frame in range(4)
    ]
    (tmp_path / "trace.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run(*files, "--explain", str(tmp_path / "trace.jsonl"))
    assert "video 1, object 1, frame 1: no_candidate" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--videos", "7"], r"gt\.json has no videos with the ids \[7\]"),
        (["--videos", "a,b"], "no file and no list of video ids"),
        (["--results", "nowhere.json"], "nowhere.json"),
        (["--explain", "nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_bad_input_is_one_line(files: list[str], extra: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message) as error:
        run(*files, *extra)
    assert str(error.value).startswith("error: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--gt", "gt.json"],
        ["--gt", "g", "--results", "r", "--config-file", "c"],
        ["--task", "x"],
    ],
)
def test_wrong_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        run(*arguments)
    assert error.value.code == 2


@pytest.fixture
def _quiet_loggers() -> Iterator[None]:
    """The handlers that a run installs end with its test."""
    yield
    for name in ("detectron2", "fvcore", "dvis_daq"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True


@pytest.mark.usefixtures("_quiet_loggers")
def test_a_model(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = tiny_config(tmp_path)
    weights = tmp_path / "weights.pth"
    torch.save({"model": build_model(get_config(config)).state_dict()}, weights)
    run(
        *("--config-file", str(config), "--weights", str(weights)),
        *("--json", str(tmp_path / "out.json"), "--events"),
        *("OUTPUT_DIR", str(tmp_path / "out")),
    )
    figures = json.loads((tmp_path / "out.json").read_text())
    assert 0 <= figures["AP"] <= 1
    assert "presence" in figures["events"]
    (results,) = (tmp_path / "out" / "inference").glob("*/results.json")
    assert str(results) in capsys.readouterr().out


@pytest.mark.usefixtures("_quiet_loggers")
def test_a_model_without_weights(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    with pytest.raises(SystemExit, match="error: there are no weights"):
        run("--config-file", str(config), "OUTPUT_DIR", str(tmp_path / "out"))


def test_as_a_program(files: list[str], tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tools" / "eval.py")]
    shown = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    assert "--explain" in shown.stdout
    assert "Examples:" in shown.stdout
    broken = subprocess.run(
        [*command, *files, "--videos", "7"], capture_output=True, text=True, cwd=tmp_path
    )
    assert broken.returncode == 1
    # Libraries may warn when they start; ours is one line, the last.
    assert broken.stderr.splitlines()[-1].startswith("error: ")
    assert broken.stderr.count("error: ") == 1


@pytest.mark.skipif(dvis_daq.DETECTRON2.real, reason="the real Detectron2 imports torch")
def test_files_are_scored_without_torch(files: list[str]) -> None:
    code = "import runpy, sys; sys.argv[1:] = {}; runpy.run_path({!r}, run_name='__main__')\n"
    code = code.format(files, str(ROOT / "tools" / "eval.py")) + "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
