"""Exported segmenters: what they say, and that a tracker can live on it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dvis_daq.checkpoint import write_weights
from dvis_daq.config import get_config
from dvis_daq.engine.setup import build_model
from dvis_daq.segmenter import exporting
from dvis_daq.segmenter.exporting import (
    difference,
    export_onnx,
    export_program,
    frame_outputs,
    plain,
    run_onnx,
    run_program,
)
from dvis_daq.tracker.loop import track
from tests.tools.scripts import load_script
from tests.unit.streaming.tiny import tiny_predictor
from tests.unit.test_predictor import CONFIG, TINY

FRAMES = torch.randint(
    0, 256, (2, 2, 3, 32, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


def test_exported_program_and_a_tracker_on_it(tmp_path: Path) -> None:
    model = tiny_predictor("DVIS_DAQ_online", "MODEL.MASK_FORMER.REID_BRANCH", "True").model.float()
    module = plain(model.segmenter, FRAMES[0])
    path = tmp_path / "segmenter.pt2"
    export_program(module, FRAMES[0], path, {"classes": ["disc"]})
    facts, values = run_program(path, FRAMES[1])  # other frames than were traced
    with torch.no_grad():
        expected = model.segmenter(FRAMES[1])
    outputs = frame_outputs(tuple(facts["outputs"]), values)
    assert facts["classes"] == ["disc"] and outputs.reid is not None
    for name in facts["outputs"]:
        torch.testing.assert_close(
            getattr(outputs, name), getattr(expected, name), rtol=1e-4, atol=1e-4
        )
    with torch.no_grad():
        states = [
            [done.state.ids.tolist() for done in track(model.tracker, model.lifecycle, frames)]
            for frames in (outputs, expected)
        ]
    assert states[0] == states[1]
    assert difference(tuple(module(FRAMES[0])), values) > 0.01  # the difference sees one


@pytest.mark.slow
def test_onnx_in_onnxruntime(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    module = plain(tiny_predictor("MinVIS").model.float().segmenter, FRAMES[0])
    path = tmp_path / "segmenter.onnx"
    export_onnx(module, FRAMES[0], path, {"classes": ["disc"]})
    with torch.no_grad():
        assert difference(module(FRAMES[1]), run_onnx(path, FRAMES[1])) < 1e-4
    model = onnx.load(path)
    assert [output.name for output in model.graph.output] == list(module.names)
    assert {p.key: p.value for p in model.metadata_props}["classes"] == '["disc"]'


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(ValueError, match=r"ONNX needs the package onnxruntime: pip install"):
        run_onnx(tmp_path / "x.onnx", FRAMES[0])
    assert "onnx" in exporting.ONNX_HINT


def test_the_program_is_float32_whatever_the_model_is_run_in(tmp_path: Path) -> None:
    model = build_model(get_config(CONFIG, TINY))
    weights, output = tmp_path / "model.safetensors", tmp_path / "segmenter.pt2"
    write_weights(weights, model.state_dict())
    load_script("tools/export.py").main(
        ["--config-file", str(CONFIG), "--weights", str(weights), "--size", "32", "64",
         "--output", str(output), *TINY, "TEST.PRECISION", "bfloat16"]
    )  # fmt: skip
    _, values = run_program(output, FRAMES[0][:1])
    assert {value.dtype for value in values} == {torch.float32}
