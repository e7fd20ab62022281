"""Any timm model with `features_only` as a backbone, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from timm.layers import Format
from torch import Tensor

STRIDES = {"res2": 4, "res3": 8, "res4": 16, "res5": 32}


class TimmBackbone(Backbone):
    """The maps of strides 4, 8, 16 and 32 of a timm model, called res2 .. res5.

    Args:
        name: a timm model name, e.g. `resnet18`, `convnext_tiny`, `swin_small_patch4_window7_224`.
        pretrained: start from timm's weights (downloads them on first use).
        args: further keyword arguments of the timm model.

    Raises:
        ValueError: timm does not know the model, cannot make maps of it, or it has no map of one
            of these strides.
    """

    def __init__(
        self, name: str, *, pretrained: bool = False, args: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        if not timm.is_model(name):
            close = timm.list_models(f"*{name[:6]}*")[:5]
            raise ValueError(f"MODEL.TIMM.NAME: timm has no model {name!r}; similar: {close}")
        args = {"features_only": True, **_any_size(name), **dict(args or {})}
        self.model = timm.create_model(
            name, pretrained=pretrained, out_indices=_levels(name, args), **args
        )
        self._out_features = list(STRIDES)
        self._out_feature_strides = dict(STRIDES)
        channels = self.model.feature_info.channels()
        self._out_feature_channels = dict(zip(STRIDES, channels, strict=True))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(T, 3, H, W) normalised images -> one (T, channels, H / stride, W / stride) a level."""
        maps = self.model(images)
        if getattr(self.model, "output_fmt", None) is Format.NHWC:  # the Swin family
            maps = [image.permute(0, 3, 1, 2) for image in maps]
        return dict(zip(STRIDES, maps, strict=True))


def _levels(name: str, args: Mapping[str, Any]) -> tuple[int, ...]:
    """Which of a model's maps have the strides 4, 8, 16 and 32."""
    with torch.device("meta"):
        try:
            info = timm.create_model(name, **args).feature_info
        except (AttributeError, RuntimeError) as error:
            raise ValueError(f"MODEL.TIMM.NAME: timm makes no maps of {name} ({error})") from None
    found = info.reduction()
    missing = [stride for stride in STRIDES.values() if stride not in found]
    if missing:
        raise ValueError(
            f"MODEL.TIMM.NAME: {name} has maps of strides {found}, none of {missing}; choose a "
            "model with strides 4, 8, 16 and 32, or a plain ViT behind its adapter "
            "(MODEL.BACKBONE.NAME D2VitAdapterDinoV2, MODEL.VIT_ADAPTER.NAME vits | vitb | vitl)"
        )
    return tuple(found.index(stride) for stride in STRIDES.values())


def _any_size(name: str) -> dict[str, Any]:
    """timm's Swin otherwise accepts images of its pretraining size alone."""
    return {"strict_img_size": False} if name.startswith("swin") else {}


@BACKBONE_REGISTRY.register()
def build_timm_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> TimmBackbone:
    """`MODEL.BACKBONE.NAME: build_timm_backbone`, with `MODEL.TIMM.{NAME,PRETRAINED,ARGS}`."""
    timm_cfg = cfg.MODEL.TIMM
    return TimmBackbone(timm_cfg.NAME, pretrained=timm_cfg.PRETRAINED, args=timm_cfg.ARGS)
