"""Golden arrays of the released system, and models filled with their weights.

The recipe that makes weights and videos is the reference's own file, `golden_weights.py`; it
is imported from there, so that it cannot drift.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from detectron2.config import get_cfg
from detectron2.modeling import build_backbone
from numpy.typing import ArrayLike
from torch import Tensor, nn

from dvis_daq.segmenter import PixelDecoder, QueryDecoder, SegmentationHead, Segmenter, reid_head

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Reference:
    """The reference folder: what was measured on the release, by case name."""

    root: Path

    @cached_property
    def recipe(self) -> ModuleType:
        """The module `golden_weights`."""
        spec = importlib.util.spec_from_file_location(
            "golden_weights", self.root / "golden_weights.py"
        )
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def case(self, name: str) -> dict[str, Any]:
        """Configuration, overrides, weight seed and video of a golden file."""
        return json.loads((self.root / "golden" / "cases.json").read_text())[name]

    def arrays(self, name: str, prefix: str = "") -> dict[str, np.ndarray]:
        """The arrays of a golden file whose names begin with `prefix`, which is cut off."""
        with np.load(self.root / "golden" / f"{name}.npz") as file:
            return {key[len(prefix) :]: file[key] for key in file if key.startswith(prefix)}

    def manifest(self, name: str) -> dict[str, dict[str, Any]]:
        """Key -> {"shape", "dtype", "trainable"} of a released model."""
        return json.loads((self.root / "state_dicts" / f"{name}.json").read_text())

    def video(self, name: str) -> dict[str, np.ndarray]:
        """Frames (T, H, W, 3), masks (N, T, H, W), ids (N, T) and classes (N,) of a case."""
        video = dict(self.case(name)["video"])
        video["objects"] = getattr(self.recipe, video["objects"])
        return self.recipe.make_video(**video)

    def images(self, name: str) -> Tensor:
        """The frames of a case as the models want them, (T, 3, H, W) uint8."""
        case = self.case(name)
        images = torch.from_numpy(self.video(name)["frames"]).permute(0, 3, 1, 2)
        return images[case["frames"]] if "frames" in case else images

    def fill(
        self,
        module: nn.Module,
        seed: int,
        prefix: str = "",
        official: Callable[[str], str] = lambda key: key,
    ) -> None:
        """Gives a module, in its own precision, the weights that the release had.

        Args:
            module: filled in place.
            seed: `weight_seed` of the case.
            prefix: of the module in the released model, e.g. "tracker.".
            official: from a name within the module to the released one.
        """
        state = module.state_dict()
        for key, old in state.items():
            value = self.recipe.fill_tensor(prefix + official(key), old.shape, seed)
            if value is not None:
                old.copy_(torch.from_numpy(value))


def assert_close(
    actual: Tensor | ArrayLike, expected: np.ndarray, tolerance: float, name: str = ""
) -> None:
    """Asserts |actual - expected| <= tolerance (1 + |expected|) and equal shapes."""
    actual = np.asarray(actual.detach() if isinstance(actual, Tensor) else actual)
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance, err_msg=name)


def resnet50() -> nn.Module:
    """The backbone of the released R50 models."""
    cfg = get_cfg()
    cfg.MODEL.BACKBONE.NAME = "build_resnet_backbone"
    cfg.MODEL.BACKBONE.FREEZE_AT = 0
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.RESNETS.STRIDE_IN_1X1 = False
    return build_backbone(cfg)


def r50_segmenter(*, num_queries: int, num_classes: int, reid: bool = True) -> Segmenter:
    """The segmenter of the released R50 models."""
    backbone = resnet50()
    return Segmenter(
        backbone=backbone,
        sem_seg_head=SegmentationHead(
            pixel_decoder=PixelDecoder(backbone.output_shape()),
            predictor=QueryDecoder(
                num_queries=num_queries,
                num_classes=num_classes,
                reid=reid_head(256) if reid else None,
            ),
        ),
        pixel_mean=PIXEL_MEAN,
        pixel_std=PIXEL_STD,
    )


def shapes(module: nn.Module) -> Mapping[str, list[int]]:
    """Name -> shape of everything in a module's state."""
    return {key: list(value.shape) for key, value in module.state_dict().items()}
