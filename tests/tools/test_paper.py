from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import dvis_daq.recipes  # noqa: F401  registers the methods
from dvis_daq.config import get_config
from dvis_daq.engine.setup import build_model
from dvis_daq.workbench import models
from tests.tiny_run import tiny_config
from tests.tools.scripts import load_script
from tests.unit.workbench.fake_tools import FakeTools, event_figures

SCORES = {"a.pth": (0.2, 0.4), "b.pth": (0.4, 0.6), "c.pth": (0.3, 0.5)}


def answer(command: Sequence[str]) -> dict[str, Any]:
    return event_figures(*SCORES[Path(command[command.index("--weights") + 1]).name])


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """Two seeds of one method, and another method."""
    config = tmp_path / "c.yaml"
    config.touch()
    words = ["--output", str(tmp_path / "out")]
    for name, weights in (("DAQ", "a.pth"), ("DAQ", "b.pth"), ("DVIS", "c.pth")):
        (tmp_path / weights).touch()
        words += ["--model", name, str(config), str(tmp_path / weights)]
    return words


def test_all_against_ed(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    tools = FakeTools(answer)
    monkeypatch.setattr(models, "call", tools)
    load_script("tools/paper.py").main(["A2", *arguments, "--opts", "CPU_THREADS", "1"])
    shown = capsys.readouterr().out
    assert "| DAQ | 30.0 ± 14.1 | 15.0 ± 7.1 | 30.0 ± 14.1 |" in shown
    assert "| DVIS | 30.0 | 15.0 | 30.0 |" in shown
    assert all(c[:2] == ["eval.py", "--events"] and "CPU_THREADS" in c for c in tools.commands)


def test_a_plot_of_recalls_from_the_same_measurement(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = FakeTools(answer)
    monkeypatch.setattr(models, "call", tools)
    tool = load_script("tools/paper.py")
    tool.main(["fig1", *arguments])
    tool.main(["A2", *arguments])
    assert len(tools.commands) == 3  # the second figure had all it needs
    rows = json.loads((tmp_path / "out" / "fig1.json").read_text())["rows"]
    assert rows["DVIS"]["emerging"]["mean"] == 50
    assert rows["DVIS"]["disappearing"]["mean"] == 25
    assert Image.open(tmp_path / "out" / "fig1.png").size[0] > 100
    os.utime(tmp_path / "a.pth", ns=(1, 1))  # other weights under the same name
    tool.main(["A2", *arguments])
    tool.main(["A2", *arguments, "--opts", "CPU_THREADS", "1"])
    assert len(tools.commands) == 3 + 1 + 3


def test_panoptic_models_have_vpq(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(
        models, "call", FakeTools(lambda _: {"VPQ": 0.4, "events": {"VPQ_ed": 0.3}})
    )
    load_script("tools/paper.py").main(["A2", *arguments])
    shown = capsys.readouterr().out
    assert "| model | VPQ all | VPQ ed |" in shown
    assert "| DVIS | 40.0 | 30.0 |" in shown


def test_the_transition_gap_of_a_real_model(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = tiny_config(tmp_path, "DVIS_static_online")
    weights = tmp_path / "weights.pth"
    torch.save({"model": build_model(get_config(str(config))).state_dict()}, weights)
    model = ["--model", "static", str(config), str(weights)]
    load_script("tools/paper.py").main(["A3", *model, "--output", str(tmp_path / "out")])
    assert "| static |" in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "A3.json").read_text())
    assert set(found["rows"]["static"]) >= {"CS all", "NED emergence"}


def test_a_missing_checkpoint_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"error: --model x: nowhere\.yaml is not there"):
        load_script("tools/paper.py").main(
            ["A2", "--model", "x", "nowhere.yaml", "w.pth", "--output", str(tmp_path)]
        )
