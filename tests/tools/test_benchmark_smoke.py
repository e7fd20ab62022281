"""The benchmarks against the literal implementation run to the end, on frames of a few pixels."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = ["--height", "64", "--width", "96", "--threads", "1"]

pytestmark = pytest.mark.slow


def run(name: str, *arguments: str) -> dict:
    file = Path(arguments[-1])
    command = [sys.executable, str(ROOT / "benchmarks" / name), *SMALL, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(file.read_text())["cases"]


def test_stream(tmp_path: Path):
    systems = ("float32", "bfloat16", "literal")
    cases = run("stream.py", "--frames", "3", "--tracks", "5", "--systems", *systems,
                "--json", str(tmp_path / "stream.json"))  # fmt: skip
    assert [case["system"] for case in cases.values()] == list(systems)
    same = cases["float32 3"]["agreement"]
    assert same["ids"] == 1 and same["iou"] > 0.999
    assert cases["float32 3"]["ratios"]["trackers"] > 1


def test_train(tmp_path: Path):
    systems = ("float32", "stored", "literal")
    cases = run("train.py", "--frames", "2", "--repeats", "1", "--systems", *systems,
                "--json", str(tmp_path / "train.json"))  # fmt: skip
    assert set(cases) == set(systems)
    losses = [cases[name]["loss"] for name in ("float32", "stored")]
    assert losses[0] == pytest.approx(losses[1], rel=0.1)  # other sampled points, same clip
    assert cases["stored"]["seconds"] < cases["float32"]["seconds"]
