"""Estimated memory against what is measured at full size; a seed that is drawn once."""

import json
from pathlib import Path

import pytest
import torch

import dvis_daq.recipes  # noqa: F401
from dvis_daq.config import get_config
from dvis_daq.engine.dry_run import frame_size
from dvis_daq.engine.manifest import with_seed
from dvis_daq.engine.memory import estimate, measure_step
from dvis_daq.engine.setup import build_model
from tests.tiny_run import tiny_config
from tests.unit.engine.stand_in import stand_in_config


@pytest.mark.parametrize("recipe", ["MinVIS", "DVIS_DAQ_online"])
def test_estimate_is_near_the_truth(recipe: str, tmp_path: Path) -> None:
    options = ["INPUT.CLIP.FRAMES", "2", "MODEL.MASK_FORMER.TRAIN_NUM_POINTS", "256"]
    cfg = get_config(tiny_config(tmp_path, recipe), options)
    torch.manual_seed(0)
    model = build_model(cfg).train()
    size = (320, 384)
    said = estimate(cfg, model, clips=1, size=size)
    assert said.step == pytest.approx(measure_step(cfg, model, clips=1, size=size), rel=0.2)
    assert said.weights == sum(t.nbytes for t in (*model.parameters(), *model.buffers()))
    assert all(p.grad is None for p in model.parameters())


def test_largest_training_frame(tmp_path: Path) -> None:
    options = ("INPUT.MIN_SIZE_TRAIN", "(360, 480)", "INPUT.MAX_SIZE_TRAIN")
    assert frame_size(stand_in_config(tmp_path, *options, 1333)) == (480, 853)
    assert frame_size(stand_in_config(tmp_path, *options, 640)) == (360, 640)


def test_a_drawn_seed_stays_when_a_run_is_resumed(tmp_path: Path) -> None:
    cfg = stand_in_config(tmp_path, "SEED", -1)
    drawn = with_seed(cfg, resume=False).SEED
    assert drawn >= 0
    (tmp_path / "manifest.json").write_text(json.dumps({"seed": {"SEED": 17}}))
    assert with_seed(cfg, resume=True).SEED == 17
    assert with_seed(stand_in_config(tmp_path), resume=True).SEED == 42
