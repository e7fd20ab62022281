"""A sweep gives what single runs give, and runs the segmenter once."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import dvis_daq.recipes  # noqa: F401  registers the methods
from dvis_daq.config import get_config
from dvis_daq.engine.setup import build_model
from dvis_daq.variants import Variants
from dvis_daq.workbench.sweep import label, settings
from tests.tiny_run import tiny_config
from tests.tools.scripts import load_script

SCORES = ("0.1", "0.28", "0.9")


@pytest.fixture(autouse=True)
def _quiet_loggers() -> Iterator[None]:
    yield
    for name in ("detectron2", "fvcore", "dvis_daq"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True


def prepared(folder: Path, recipe: str = "DVIS_DAQ_online") -> list[str]:
    config = tiny_config(folder, recipe)
    torch.manual_seed(0)
    weights = folder / "weights.pth"
    torch.save({"model": build_model(get_config(str(config))).state_dict()}, weights)
    return [
        "OUTPUT_DIR",
        str(folder / "out"),
        "--config-file",
        str(config),
        "--weights",
        str(weights),
    ]


@pytest.mark.parametrize("recipe", ["DVIS_DAQ_online", "GenVIS_DAQ"])
def test_each_setting_is_what_a_single_run_gives(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments, tool = prepared(tmp_path, recipe), load_script("tools/eval.py")
    axes = [f"MODEL.LIFECYCLE.SCORE={','.join(SCORES)}", "TEST.MAX_INSTANCES=20"]
    tool.main([*arguments, "--json", str(tmp_path / "sweep.json"), "--sweep", *axes])
    shown = capsys.readouterr().out
    [found] = json.loads((tmp_path / "sweep.json").read_text()).values()
    assert [f"MODEL.LIFECYCLE.SCORE={s} TEST.MAX_INSTANCES=20" for s in SCORES] == list(found)
    assert all(f"| {name} |" in shown for name in found)
    results = set()
    for score in SCORES:
        tool.main(["MODEL.LIFECYCLE.SCORE", score, *arguments, "--json", str(tmp_path / "one.json"),
                   "--events"])  # fmt: skip
        [single] = (tmp_path / "out" / "inference").glob("*/results.json")
        name = f"MODEL.LIFECYCLE.SCORE={score}_TEST.MAX_INSTANCES=20"
        [swept] = (tmp_path / "out" / "sweep" / name / "inference").glob("*/results.json")
        assert swept.read_text() == single.read_text()
        results.add(single.read_text())
        assert json.loads((tmp_path / "one.json").read_text()) == found[label(
            {"MODEL.LIFECYCLE.SCORE": score, "TEST.MAX_INSTANCES": "20"})]  # fmt: skip
    assert len(results) > 1  # the thresholds matter


def test_the_segmenter_sees_every_window_once(tmp_path: Path) -> None:
    cfg = get_config(str(tiny_config(tmp_path, "DVIS_DAQ_online")), ["TEST.WINDOW", "2"])
    models = [build_model(cfg).eval() for _ in range(3)]
    variants, calls = Variants(models), []
    models[0].segmenter.register_forward_hook(lambda *_: calls.append(1))
    video = {"images": torch.randint(0, 255, (5, 3, 64, 64), dtype=torch.uint8)}
    [results] = variants([video])
    assert len(results) == 3
    assert len(calls) == 3  # windows of 2, 2 and 1 frames


def test_all_combinations() -> None:
    found = settings(["MODEL.LIFECYCLE.SCORE=0.1,0.2", "MODEL.LIFECYCLE.PATIENCE=1,8"])
    assert [tuple(one.values()) for one in found] == [
        ("0.1", "1"), ("0.1", "8"), ("0.2", "1"), ("0.2", "8"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        ("MODEL.LIFECYCLE.SCORE", "expected KEY=VALUE"),
        ("MODEL.LIFECYCLE.SCORE=0.1,,0.2", "expected KEY=VALUE"),
        ("MODEL.MASK_FORMER.DEC_LAYERS=2,3", r"only MODEL\.LIFECYCLE\.\*"),
        ("MODEL.LIFECYCLE.SCOER=0.1", "SCOER"),
    ],
)
def test_an_axis_that_cannot_be_swept(axis: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=message):
        load_script("tools/eval.py").main([*prepared(tmp_path), "--sweep", axis])


def test_not_offline_and_not_from_files(tmp_path: Path) -> None:
    tool = load_script("tools/eval.py")
    with pytest.raises(SystemExit, match="offline model cannot share"):
        tool.main([*prepared(tmp_path, "DVIS_DAQ_offline"), "--sweep", "MODEL.LIFECYCLE.SCORE=0.1"])
    with pytest.raises(SystemExit) as error:
        tool.main(["--gt", "a", "--results", "b", "--sweep", "MODEL.LIFECYCLE.SCORE=0.1"])
    assert error.value.code == 2
