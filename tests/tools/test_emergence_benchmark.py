from __future__ import annotations

import csv
import json
from ast import literal_eval
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dvis_daq.data.synthetic import Recipe
from dvis_daq.workbench import models
from dvis_daq.workbench.difficulty import AXES, as_csv, points, settings
from tests.tools.scripts import load_script
from tests.unit.workbench.fake_tools import FakeTools, event_figures


def test_only_the_axis_changes_and_the_cost_stays() -> None:
    base = Recipe(val=20)
    chosen = list(settings(list(AXES), base))
    assert len({setting.name for setting in chosen}) == sum(len(values) for values in AXES.values())
    frames = {s.value: s.recipe.val for s in chosen if s.axis == "frames"}
    assert frames == {12: 20, 50: 5, 150: 4, 400: 4}
    speeds = [s.recipe for s in chosen if s.axis == "speed"]
    assert {(r.frames, r.event_rate, r.objects, r.val) for r in speeds} == {(12, 0.6, (3, 5), 20)}
    crowd = max((s for s in chosen if s.axis == "objects"), key=lambda s: s.value).recipe
    assert crowd.objects == (10, 12)


def test_an_undefined_figure_is_a_gap() -> None:
    [setting, *_] = settings(["event rate"], Recipe())
    rows = points([setting], {(setting.name, "DAQ"): [event_figures(0.5, 0.5, None)]})
    assert "event rate,0,60,DAQ,ghost rate,,\n" in as_csv(rows)
    assert "event rate,0,60,DAQ,AP,50.00,\n" in as_csv(rows)


def test_curves_of_two_methods(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Three checkpoints of two methods; the second harder, with more events."""

    def answer(command: Sequence[str]) -> dict[str, Any]:
        weights = Path(command[command.index("--weights") + 1]).stem
        figures = event_figures(*{"a": (0.2, 0.4), "b": (0.4, 0.6), "c": (0.3, 0.5)}[weights])
        names = literal_eval(command[command.index("DATASETS.TEST") + 1])
        custom = literal_eval(command[command.index("DATASETS.CUSTOM") + 1])
        assert [entry["NAME"] for entry in custom] == list(names)
        assert all(Path(entry["JSON"]).is_file() for entry in custom)
        return dict.fromkeys(names, figures)

    tools = FakeTools(answer)
    monkeypatch.setattr(models, "call", tools)
    words = ["--output", str(tmp_path / "out"), "--axes", "event rate", "speed", "--videos", "1"]
    (tmp_path / "c.yaml").touch()
    for name, weights in (("DAQ", "a.pth"), ("DAQ", "b.pth"), ("MinVIS", "c.pth")):
        (tmp_path / weights).touch()
        words += ["--model", name, str(tmp_path / "c.yaml"), str(tmp_path / weights)]
    tool = load_script("tools/emergence_benchmark.py")
    tool.main([*words, "--jobs", "2"])
    assert "| speed | 4 | 30.0 ± 14.1 | 30.0 |" in capsys.readouterr().out
    with open(tmp_path / "out" / "emergence.csv", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 2 * 4 * 2 * 4  # axes, values, methods, figures
    assert {line["std"] for line in lines if line["method"] == "MinVIS"} == {""}
    found = json.loads((tmp_path / "out" / "emergence.json").read_text())
    assert len(found["points"]) == 2 * 4 * 2
    assert Image.open(tmp_path / "out" / "emergence.png").size[1] > 300
    assert (tmp_path / "out" / "emergence.png").stat().st_size < 200_000
    assert len(tools.commands) == 3
    tool.main(words)
    assert len(tools.commands) == 3


def test_wrong_usage() -> None:
    with pytest.raises(SystemExit) as error:
        load_script("tools/emergence_benchmark.py").main(["--output", "out"])
    assert error.value.code == 2
