"""VideoPredictor: what the model is given, and a real tiny model from a configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dvis_daq.checkpoint import write_weights
from dvis_daq.config import get_config
from dvis_daq.data.synthetic import CLASSES, Recipe, make_video, write_dataset
from dvis_daq.data.transforms import ResizeShortestEdge
from dvis_daq.engine.setup import build_model
from dvis_daq.predictor import VideoPredictor, known_classes
from tests.conftest import ROOT

CONFIG = ROOT / "configs" / "synthetic" / "MinVIS.yaml"
TINY = [
    *("MODEL.BACKBONE.NAME", "build_resnet_backbone", "MODEL.RESNETS.DEPTH", "18"),
    *("MODEL.RESNETS.STEM_OUT_CHANNELS", "64", "MODEL.RESNETS.RES2_OUT_CHANNELS", "64"),
    *("MODEL.RESNETS.OUT_FEATURES", "['res2', 'res3', 'res4', 'res5']"),
    *("MODEL.RESNETS.NORM", "BN", "MODEL.MASK_FORMER.NUM_OBJECT_QUERIES", "5"),
    *("DATASETS.CUSTOM", "[]", "DATASETS.TEST", "()", "INPUT.MIN_SIZE_TEST", "32"),
]


class Recorder(nn.Module):
    def forward(self, videos: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        assert not self.training and not torch.is_grad_enabled()
        self.video = videos[0]
        self.pieces = [self.video["images"][t : t + 2] for t in (0, 2, 4)]
        return [{"task": "vis"}]


def test_model_gets_resized_frames_and_the_original_size() -> None:
    frames = make_video(Recipe(height=48, width=64, frames=5), "val", 0).frames
    model = Recorder()
    taken: list[int] = []
    predictor = VideoPredictor(model, transform=ResizeShortestEdge([24], 1333))
    assert predictor(iter(frames), progress=taken.append) == {"task": "vis"}
    assert (model.video["height"], model.video["width"]) == (48, 64)
    assert model.video["images"].shape == (5, 3, 24, 32) and len(model.video["images"]) == 5
    assert taken == [2, 2, 1]
    halved = frames[0].reshape(24, 2, 32, 2, 3).mean((1, 3))
    got = model.pieces[0][0].permute(1, 2, 0).numpy()
    assert got.dtype == np.uint8 and np.abs(got - halved).mean() < 4


def test_bad_videos() -> None:
    predictor = VideoPredictor(Recorder(), transform=ResizeShortestEdge([24], 1333))
    with pytest.raises(ValueError, match="no frames"):
        predictor([])
    with pytest.raises(ValueError, match=r"frame 1 is \(40, 64, 3\), the first one \(48, 64, 3\)"):
        predictor([np.zeros((48, 64, 3), np.uint8), np.zeros((40, 64, 3), np.uint8)])


def test_class_names() -> None:
    predictor = VideoPredictor(
        Recorder(), transform=ResizeShortestEdge([24], 1333), class_names=["disc"]
    )
    assert [predictor.class_name(k) for k in (0, 1)] == ["disc", "class 1"]


def test_from_config_gives_the_model_of_the_checkpoint(tmp_path: Path) -> None:
    model = build_model(get_config(CONFIG, TINY))
    path = tmp_path / "model.safetensors"
    write_weights(path, model.state_dict(), {"classes": json.dumps(["disc", "square"])})
    predictor = VideoPredictor.from_config(CONFIG, path, TINY)
    image = torch.randint(0, 256, (1, 3, 48, 64), dtype=torch.uint8)
    with torch.no_grad():
        expected, found = model.eval().segmenter(image), predictor.model.segmenter(image)
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-4)
    assert predictor.class_names == ("disc", "square")
    frames = make_video(Recipe(height=48, width=64, frames=3), "val", 0).frames
    result = predictor(frames)
    assert result["task"] == "vis" and len(result["scores"]) == 20
    for track in result["masks"]:
        assert len(track) == 3
        assert all(mask is None or mask["size"] == [48, 64] for mask in track)


def test_class_names_come_from_the_test_data_otherwise(tmp_path: Path) -> None:
    list(write_dataset(Recipe(height=32, width=32, frames=1, train=0, val=1), tmp_path))
    name = f"predictor_{tmp_path.name}"
    files = {"JSON": str(tmp_path / "val.json"), "IMAGES": str(tmp_path / "val")}
    custom = [{"NAME": name, "TASK": "vis", **files}]
    opts = [*TINY, "DATASETS.CUSTOM", str(custom), "DATASETS.TEST", f"('{name}',)"]
    assert known_classes(get_config(CONFIG, opts), {}) == list(CLASSES)


def test_unknown_class_names_are_no_error() -> None:
    missing = [{"NAME": "x", "TASK": "vis", "JSON": "/nowhere/x.json", "IMAGES": "/nowhere"}]
    opts = [*TINY, "DATASETS.CUSTOM", str(missing), "DATASETS.TEST", "('x',)"]
    assert known_classes(get_config(CONFIG, opts), {}) == []


def test_weights_are_required() -> None:
    with pytest.raises(ValueError, match="no weights.*MODEL.WEIGHTS"):
        VideoPredictor.from_config(CONFIG, None, TINY)
