"""Real models of a few thousand parameters with random weights, and frames for them."""

from __future__ import annotations

import zlib
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
    *("TEST.MASK_DTYPE", "none", "MODEL.GENVIS.CLIP_FRAMES", "3"),
    *("MODEL.WEIGHTS", "", "MODEL.TIMM.ARGS.channels", "[8, 16, 32, 64]"),
    *("MODEL.SEM_SEG_HEAD.CONVS_DIM", "32", "MODEL.SEM_SEG_HEAD.MASK_DIM", "32"),
    *("MODEL.SEM_SEG_HEAD.NUM_CLASSES", "4", "MODEL.SEM_SEG_HEAD.NUM_THINGS", "2"),
    *("MODEL.MASK_FORMER.HIDDEN_DIM", "32", "MODEL.MASK_FORMER.NUM_OBJECT_QUERIES", "6"),
    *("MODEL.MASK_FORMER.DEC_LAYERS", "2", "MODEL.MASK_FORMER.DIM_FEEDFORWARD", "32"),
    *("MODEL.SEM_SEG_HEAD.DEFORMABLE_TRANSFORMER_ENCODER_FEEDFORWARD", "32"),
    *("MODEL.TRACKER.LAYERS", "2", "MODEL.REFINER.LAYERS", "1", "DATASETS.TEST", "()"),
    *("MODEL.LIFECYCLE.FIRST_SCORE", "0.3", "MODEL.LIFECYCLE.SCORE", "0.6"),
    *("MODEL.LIFECYCLE.PATIENCE", "2", "MODEL.LIFECYCLE.FOREGROUND_SCORE", "0.3"),
]
SALT = 6  # chosen so that tracks come, hide, return and go
NAMES = ("disc", "square", "sky", "grass")


def tiny_predictor(recipe: str, *opts: str, **options: Any) -> VideoPredictor:
    """Random weights that make tracks come, hide and go (`test_online.py` makes sure)."""
    cfg = get_config(ROOT / "configs" / "synthetic" / f"{recipe}.yaml", [*SIZES, *opts])
    # In float32 the sums of another batch flip pixels of random masks.
    model = build_model(cfg).double()
    for name, value in model.named_parameters():
        _fill(name, value)
    return VideoPredictor(
        model.double(),  # frames by themselves or several at once: the same to the last pixel
        transform=ResizeShortestEdge([32], 1333),
        task=cfg.MODEL.TASK,
        class_names=NAMES,
        **options,
    )


@torch.no_grad()
def _fill(name: str, value: torch.Tensor) -> None:
    """Random by name, so that the order in which a model is built does not matter."""
    source = torch.Generator().manual_seed(zlib.crc32(f"{SALT}{name}".encode()))
    noise = torch.randn(value.shape, generator=source)
    if value.dim() > 1:
        scale = 4.0 if name.endswith("class_embed.weight") else 1.0  # sharper than at the start
        value.copy_(noise * scale / value[0].numel() ** 0.5)
    elif name.endswith("bias"):
        value.copy_(0.1 * noise)


def tiny_frames(count: int = 8, seed: int = 0) -> list[np.ndarray]:
    """Frames of 40 x 56 pixels whose contents change a lot."""
    recipe = Recipe(height=40, width=56, frames=count, seed=seed)
    return list(make_video(recipe, "val", seed).frames)
