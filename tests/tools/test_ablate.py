from __future__ import annotations

import json
from pathlib import Path

import pytest

from dvis_daq.data.synthetic import Recipe, write_dataset
from tests.tools.scripts import load_script

BASELINE = "Baseline (static anchors)"


def test_a_row_from_data_to_table(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A few iterations of everything; a second call has nothing left to do."""
    list(write_dataset(Recipe(train=3, val=2, frames=5), tmp_path / "data", force=False))
    arguments = ["3a", "--rows", BASELINE, "--seeds", "1", "--budget", "0.001"]
    arguments += ["--base-budget", "0.001", "--data", str(tmp_path / "data")]
    arguments += ["--output", str(tmp_path / "out")]
    tool = load_script("tools/ablate.py")
    tool.main(arguments)
    content = json.loads((tmp_path / "out" / "3a.json").read_text())
    [row] = content["rows"]
    assert row["figures"]["AP"]["mean"] >= 0
    assert row["paper"] == {"AP": 35.4}
    assert content["manifest"]["iterations"] == {"MinVIS": 2, "3a_1_baseline": 3}
    costs = content["manifest"]["cpu_seconds"]
    assert all(cost["train"] > 0 and cost["val"] > 0 for cost in costs.values())
    assert f"| {BASELINE} |" in (tmp_path / "out" / "3a.md").read_text()
    capsys.readouterr()
    logs = {log: log.stat().st_mtime_ns for log in tmp_path.glob("out/*/*.log")}
    assert len(logs) == 4
    tool.main(arguments)
    assert logs == {log: log.stat().st_mtime_ns for log in logs}
    assert "0 CPU minutes are left" in capsys.readouterr().out


def test_the_cost_is_told_before(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    load_script("tools/ablate.py").main(["3a", "--dry-run", "--output", str(tmp_path / "out")])
    shown = capsys.readouterr().out
    assert shown.count("3a_6_EDAQ_ES_DDAQ_DS_seed") == shown.count("MinVIS_seed") == 3
    minutes = int(shown.splitlines()[-1].split()[0])
    assert 0 < minutes / 2 < 180  # on two cores
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["9z"], "invalid choice"),
        (["3a", "--data", "nowhere"], "train.json not found"),
        (["3a", "--budget", "0"], "must be positive"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as error:
        load_script("tools/ablate.py").main(arguments)
    assert error.value.code == 2
    assert message in capsys.readouterr().err


def test_an_unknown_row_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="error: table 3a has no row 'none'"):
        load_script("tools/ablate.py").main(["3a", "--rows", "none", "--output", str(tmp_path)])


@pytest.mark.slow
def test_quick_ends_in_ten_minutes_on_two_cores(tmp_path: Path) -> None:
    load_script("tools/ablate.py").main(
        ["3a", "--quick", "--jobs", "2", "--output", str(tmp_path / "out")]
    )
    content = json.loads((tmp_path / "out" / "3a.json").read_text())
    assert len(content["rows"]) == 6
    costs = content["manifest"]["cpu_seconds"].values()
    assert sum(sum(parts.values()) for parts in costs) < 2 * 600
