"""datasets/make_synthetic.py: makes a set once, says what it did, refuses to replace another."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

SIZE = ["--height", "48", "--width", "64", "--frames", "3", "--train", "2", "--val", "1"]


def run(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    script = ROOT / "datasets" / "make_synthetic.py"
    command = [sys.executable, str(script), "--output", str(folder), *SIZE, *more]
    return subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)


def test_made_once_then_left_alone_then_refused(tmp_path: Path) -> None:
    made = run(tmp_path, "--objects", "2", "2", "--no-hue", "--event-rate", "0.95")
    assert made.returncode == 0, made.stderr
    assert "2 training and 1 validation videos" in made.stdout
    recipe = json.loads((tmp_path / "recipe.json").read_text())
    assert (recipe["objects"], recipe["hue_cue"], recipe["event_rate"]) == ([2, 2], False, 0.95)
    again = run(tmp_path, "--objects", "2", "2", "--no-hue", "--event-rate", "0.95")
    assert again.returncode == 0 and "nothing done" in again.stdout
    other = run(tmp_path)
    assert other.returncode == 2
    line = other.stderr.strip().splitlines()[-1]  # libraries may warn before
    assert line.startswith("error: ") and "--force" in line


def test_a_bad_option_is_one_line(tmp_path: Path) -> None:
    bad = run(tmp_path, "--event-rate", "2")
    assert bad.returncode == 2
    message = "error: synthetic recipe: event_rate must be in 0..1, got 2.0"
    assert bad.stderr.strip().splitlines()[-1] == message
    assert "Traceback" not in bad.stderr
    assert not list(tmp_path.iterdir())


def test_help_has_examples(tmp_path: Path) -> None:
    assert "Examples:" in run(tmp_path, "--help").stdout
