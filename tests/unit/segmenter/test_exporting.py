"""Exported segmenters: what they say, and that a tracker can live on it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

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
from tests.unit.streaming.tiny import tiny_predictor

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
