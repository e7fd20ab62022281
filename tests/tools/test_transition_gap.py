import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import dvis_daq.recipes  # noqa: F401  registers the methods
from dvis_daq.config import get_config
from dvis_daq.engine.setup import build_model
from tests.tiny_run import tiny_config
from tests.tools.scripts import load_script


@pytest.fixture(autouse=True)
def _quiet_loggers() -> Iterator[None]:
    yield
    for name in ("detectron2", "fvcore", "dvis_daq"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True


def weights(folder: Path, config: Path) -> str:
    file = folder / "weights.pth"
    torch.save({"model": build_model(get_config(str(config))).state_dict()}, file)
    return str(file)


@pytest.mark.parametrize(
    "recipe", ["DVIS_DAQ_online", "DVIS_static_online", "DVIS_online", "GenVIS", "GenVIS_DAQ"]
)
def test_every_event_of_the_data_is_counted(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    config = tiny_config(tmp_path, recipe)
    arguments = ["--config-file", str(config), "--weights", weights(tmp_path, config)]
    arguments += ["--json", str(tmp_path / "gap.json"), "OUTPUT_DIR", str(tmp_path / "out")]
    load_script("tools/transition_gap.py").main(arguments)
    found = json.loads((tmp_path / "gap.json").read_text())
    [figures] = found["figures"].values()
    assert figures["emergence"]["events"] == 1  # object 7 of `tiny_vis`
    assert figures["disappearance"]["events"] == 1  # object 3
    assert "|a - b| / (|a| + |b|)" in found["definition"]
    assert "| emergence |" in capsys.readouterr().out


def test_without_labels_or_weights(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    tool = load_script("tools/transition_gap.py")
    with pytest.raises(SystemExit, match="no weights to measure"):
        tool.main(["--config-file", str(config), "OUTPUT_DIR", str(tmp_path / "out")])
    truth = json.loads((tmp_path / "tiny.json").read_text())
    (tmp_path / "tiny.json").write_text(json.dumps(truth | {"annotations": None}))
    arguments = ["--config-file", str(config), "--weights", weights(tmp_path, config)]
    with pytest.raises(SystemExit, match="has no labels"):
        tool.main([*arguments, "OUTPUT_DIR", str(tmp_path / "out")])


def test_a_training_logs_it(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "DVIS_DAQ_online")
    tool = load_script("tools/train_net.py")
    tool.cli(["--config-file", str(config), "TEST.TRANSITION_GAP", "True", "SOLVER.MAX_ITER", "1",
              "TEST.EVAL_PERIOD", "1"])  # fmt: skip
    lines = (tmp_path / "output" / "metrics.json").read_text().splitlines()
    logged = json.loads(lines[-1])
    assert logged["transition_gap/emergence_events"] == 1
    assert logged["transition_gap/disappearance_events"] == 1
