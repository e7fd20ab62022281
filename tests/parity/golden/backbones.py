"""Maps of a backbone alone: `backbone_*.npz`."""

from __future__ import annotations

import numpy as np
import torch
from detectron2.modeling import build_backbone
from torch import Tensor

from dvis_daq.segmenter import Segmenter
from tests.parity.golden.cases import Arrays, Case


@torch.no_grad()
def backbone(case: Case, dtype: torch.dtype) -> Arrays:
    """Statistics and parts of the four maps of a frame."""
    cfg = case.config()
    module = build_backbone(cfg).to(dtype).eval()
    fill(module, case)
    normaliser = Segmenter(
        backbone=module,
        sem_seg_head=torch.nn.Identity(),
        pixel_mean=cfg.MODEL.PIXEL_MEAN,
        pixel_std=cfg.MODEL.PIXEL_STD,
        size_divisibility=cfg.MODEL.MASK_FORMER.SIZE_DIVISIBILITY,
    ).to(dtype)
    maps = module(normaliser.normalize(case.images(dtype, case.entry["frames"])))
    arrays: Arrays = {}
    for name, image in maps.items():
        arrays |= {f"{name}_{key}": value for key, value in summary(image).items()}
    return arrays | {
        "res5": maps["res5"][0].numpy(),
        "res4_first_channels": maps["res4"][0, :64].numpy(),
    }


def summary(image: Tensor) -> Arrays:
    """Shape, statistics over the pixels of each channel, and the first values of four."""
    channels = image[0].flatten(1)
    return {
        "shape": np.array(image.shape),
        "mean": channels.mean(1).numpy(),
        "std": channels.std(1, correction=0).numpy(),
        "head": channels[:4, :64].numpy(),
    }


def fill(module: torch.nn.Module, case: Case) -> None:
    """Gives a backbone the weights of the recipe, under its released names."""
    shapes = {f"backbone.{name}": tuple(value.shape) for name, value in module.state_dict().items()}
    weights = case.recipe.fill_state_dict(shapes, seed=case.entry["weight_seed"])
    module.load_state_dict(
        {name.removeprefix("backbone."): torch.from_numpy(w) for name, w in weights.items()},
        strict=False,  # index tables and counters keep their own values
    )
