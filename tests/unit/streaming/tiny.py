"""Real models of a few thousand parameters with random weights, and frames for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import dvis_daq.recipes  # noqa: F401  registers the methods
from dvis_daq.config import get_config
from dvis_daq.data.synthetic import Recipe, make_video
from dvis_daq.data.transforms import ResizeShortestEdge
from dvis_daq.engine.setup import build_model
from dvis_daq.predictor import VideoPredictor
from tests.conftest import ROOT

SIZES = [
    *("MODEL.WEIGHTS", "", "MODEL.TIMM.ARGS.channels", "[8, 16, 32, 64]"),
    *("MODEL.SEM_SEG_HEAD.CONVS_DIM", "32", "MODEL.SEM_SEG_HEAD.MASK_DIM", "32"),
    *("MODEL.SEM_SEG_HEAD.NUM_CLASSES", "4", "MODEL.SEM_SEG_HEAD.NUM_THINGS", "2"),
    *("MODEL.MASK_FORMER.HIDDEN_DIM", "32", "MODEL.MASK_FORMER.NUM_OBJECT_QUERIES", "6"),
    *("MODEL.MASK_FORMER.DEC_LAYERS", "2", "MODEL.MASK_FORMER.DIM_FEEDFORWARD", "32"),
    *("MODEL.SEM_SEG_HEAD.DEFORMABLE_TRANSFORMER_ENCODER_FEEDFORWARD", "32"),
    *("MODEL.TRACKER.LAYERS", "2", "MODEL.REFINER.LAYERS", "1", "DATASETS.TEST", "()"),
    *("MODEL.LIFECYCLE.FIRST_SCORE", "0.3", "MODEL.LIFECYCLE.SCORE", "0.5"),
    *("MODEL.LIFECYCLE.PATIENCE", "2", "MODEL.LIFECYCLE.FOREGROUND_SCORE", "0.3"),
]
NAMES = ("disc", "square", "sky", "grass")


def tiny_predictor(recipe: str, *opts: str, **options: Any) -> VideoPredictor:
    """Random weights that make tracks come, hide and go (`test_online.py` makes sure)."""
    cfg = get_config(ROOT / "configs" / "synthetic" / f"{recipe}.yaml", [*SIZES, *opts])
    torch.manual_seed(5)
    model = build_model(cfg)
    with torch.no_grad():  # sharper than at the start of a training
        for name, value in model.named_parameters():
            if name.endswith("class_embed.weight"):
                value.mul_(6)
    return VideoPredictor(
        model,
        transform=ResizeShortestEdge([32], 1333),
        task=cfg.MODEL.TASK,
        class_names=NAMES,
        **options,
    )


def tiny_frames(count: int = 8, seed: int = 0) -> list[np.ndarray]:
    """Frames of 40 x 56 pixels whose contents change a lot."""
    recipe = Recipe(height=40, width=56, frames=count, seed=seed)
    return list(make_video(recipe, "val", seed).frames)
