"""Any timm model with `features_only` as a backbone, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor

STRIDES = {"res2": 4, "res3": 8, "res4": 16, "res5": 32}


class TimmBackbone(Backbone):
    """The maps of strides 4, 8, 16 and 32 of a timm model, called res2 .. res5.

    Args:
        name: a timm model name, e.g. `resnet18`, `convnext_tiny`.
        pretrained: start from timm's weights (downloads them on first use).
        args: further keyword arguments of the timm model.

    Raises:
        ValueError: timm does not know the model, or it has no map of one of these strides.
    """

    def __init__(self, name: str, *, pretrained: bool = False, args: Mapping[str, Any] | None = None):
        super().__init__()
        if not timm.is_model(name):
            close = timm.list_models(f"*{name[:6]}*")[:5]
            raise ValueError(f"MODEL.TIMM.NAME: timm has no model {name!r}; similar: {close}")
        probe = timm.create_model(name, features_only=True, **dict(args or {}))
        reduction = probe.feature_info.reduction()
        missing = [stride for stride in STRIDES.values() if stride not in reduction]
        if missing:
            raise ValueError(
                f"MODEL.TIMM.NAME: {name} has maps of strides {reduction}, none of stride "
                f"{missing}; choose a model with strides 4, 8, 16 and 32"
            )
        levels = tuple(reduction.index(stride) for stride in STRIDES.values())
        self.model = timm.create_model(
            name, features_only=True, pretrained=pretrained, out_indices=levels, **dict(args or {})
        )
        self._out_features = list(STRIDES)
        self._out_feature_strides = dict(STRIDES)
        channels = self.model.feature_info.channels()
        self._out_feature_channels = dict(zip(STRIDES, channels, strict=True))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(T, 3, H, W) normalised images -> one (T, channels, H / stride, W / stride) a level."""
        return dict(zip(STRIDES, self.model(images), strict=True))


@BACKBONE_REGISTRY.register()
def build_timm_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> TimmBackbone:
    """`MODEL.BACKBONE.NAME: build_timm_backbone`, with `MODEL.TIMM.{NAME,PRETRAINED,ARGS}`."""
    timm_cfg = cfg.MODEL.TIMM
    return TimmBackbone(timm_cfg.NAME, pretrained=timm_cfg.PRETRAINED, args=timm_cfg.ARGS)
