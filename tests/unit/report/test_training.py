"""Reading metrics.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dvis_daq.report.training import read_run, thinned


def written(path: Path, *lines: object, end: str = "\n") -> Path:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + end)
    return path


def test_curves(tmp_path: Path) -> None:
    run = written(
        tmp_path / "metrics.json",
        {"iteration": 19, "total_loss": 3.0, "lr": 1e-4},
        {"iteration": 39, "total_loss": float("nan"), "lr": 2e-4},
        {"iteration": 59, "total_loss": 1.23456789, "segm/AP": 12.5, "note": "text"},
    )
    assert read_run(run) == {
        "total_loss": [(19, 3.0), (39, None), (59, 1.23457)],
        "lr": [(19, 1e-4), (39, 2e-4)],
        "segm/AP": [(59, 12.5)],
    }


def test_a_resumed_run_counts_once(tmp_path: Path) -> None:
    lines = [{"iteration": i, "loss": v} for i, v in [(19, 3), (39, 2), (39, 5), (19, 4), (59, 1)]]
    run = written(tmp_path / "metrics.json", *lines)
    assert read_run(run)["loss"] == [(19, 4.0), (39, 5.0), (59, 1.0)]


def test_a_line_being_written_is_left_out(tmp_path: Path) -> None:
    run = written(
        tmp_path / "metrics.json", {"iteration": 19, "loss": 3}, '{"iteration": 3', end=""
    )
    assert read_run(run) == {"loss": [(19, 3.0)]}


@pytest.mark.parametrize(
    "line, message",
    [
        ("{oops", "line 2: no json"),
        ({"loss": 1}, "line 2: no iteration"),
        ([1], "line 2: no iteration"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: object, message: str) -> None:
    run = written(tmp_path / "metrics.json", {"iteration": 1, "loss": 2}, line)
    with pytest.raises(ValueError, match=message):
        read_run(run)


def test_empty_and_missing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no figures"):
        read_run(written(tmp_path / "metrics.json", end=""))
    with pytest.raises(FileNotFoundError):
        read_run(tmp_path / "nowhere.json")


def test_thinned_keeps_the_ends() -> None:
    curve = [(i, float(i)) for i in range(10_001)]
    found = thinned(curve, 100)
    assert len(found) == 100 and found[0] == curve[0] and found[-1] == curve[-1]
    assert thinned(curve[:100], 100) == curve[:100]
