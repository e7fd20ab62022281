"""ResNet (He et al. 2016) with Detectron2's parameter names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from detectron2.config import CfgNode
from detectron2.layers import CNNBlockBase, Conv2d, ShapeSpec, get_norm
from detectron2.modeling.backbone.backbone import Backbone
from detectron2.modeling.backbone.build import BACKBONE_REGISTRY

__all__ = ["BasicBlock", "BasicStem", "BottleneckBlock", "ResNet", "build_resnet_backbone"]

_BLOCKS_PER_STAGE = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


def _conv(
    in_channels: int, out_channels: int, kernel: int, norm: str, *, dilation: int = 1, **kwargs: Any
) -> Conv2d:
    """A convolution without bias that keeps the size at stride 1, and its norm."""
    conv = Conv2d(
        in_channels,
        out_channels,
        kernel_size=kernel,
        padding=dilation * (kernel // 2),
        dilation=dilation,
        bias=False,
        norm=get_norm(norm, out_channels),
        **kwargs,
    )
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


class BasicStem(CNNBlockBase):
    """7x7 convolution and max pooling, stride 4.

    Args:
        in_channels: channels of the image.
        out_channels: channels out.
        norm: name of the norm.
    """

    def __init__(self, in_channels: int = 3, out_channels: int = 64, norm: str = "BN") -> None:
        super().__init__(in_channels, out_channels, stride=4)
        self.conv1 = _conv(in_channels, out_channels, 7, norm, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H/4, W/4)."""
        return F.max_pool2d(F.relu_(self.conv1(x)), kernel_size=3, stride=2, padding=1)


class _ResidualBlock(CNNBlockBase):
    """Adds what `residual` computes to a shortcut, projected where the shapes differ."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, norm: str) -> None:
        super().__init__(in_channels, out_channels, stride)
        self.shortcut = None
        if in_channels != out_channels:
            self.shortcut = _conv(in_channels, out_channels, 1, norm, stride=stride)

    def residual(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H/stride, W/stride)."""
        out = self.residual(x)
        out += x if self.shortcut is None else self.shortcut(x)
        return F.relu_(out)


class BasicBlock(_ResidualBlock):
    """Two 3x3 convolutions, the block of ResNet-18 and -34."""

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int = 1, norm: str = "BN"
    ) -> None:
        super().__init__(in_channels, out_channels, stride=stride, norm=norm)
        self.conv1 = _conv(in_channels, out_channels, 3, norm, stride=stride)
        self.conv2 = _conv(out_channels, out_channels, 3, norm)

    def residual(self, x: Tensor) -> Tensor:
        """The two convolutions."""
        return self.conv2(F.relu_(self.conv1(x)))


class BottleneckBlock(_ResidualBlock):
    """1x1, 3x3 and 1x1 convolutions, the block of the deeper ResNets.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        bottleneck_channels: channels of the 3x3 convolution.
        stride: of the block.
        num_groups: groups of the 3x3 convolution.
        norm: name of the norm.
        stride_in_1x1: stride in the first 1x1 convolution, not in the 3x3 one.
        dilation: of the 3x3 convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        bottleneck_channels: int,
        stride: int = 1,
        num_groups: int = 1,
        norm: str = "BN",
        stride_in_1x1: bool = False,
        dilation: int = 1,
    ) -> None:
        super().__init__(in_channels, out_channels, stride=stride, norm=norm)
        first, second = (stride, 1) if stride_in_1x1 else (1, stride)
        width = bottleneck_channels
        self.conv1 = _conv(in_channels, width, 1, norm, stride=first)
        self.conv2 = _conv(
            width, width, 3, norm, stride=second, groups=num_groups, dilation=dilation
        )
        self.conv3 = _conv(width, out_channels, 1, norm)

    def residual(self, x: Tensor) -> Tensor:
        """The three convolutions."""
        return self.conv3(F.relu_(self.conv2(F.relu_(self.conv1(x)))))


class ResNet(Backbone):
    """A stem and stages `res2`, `res3`, ...

    Args:
        stem: block of stride 4.
        stages: the blocks of each stage.
        num_classes: not in this subset, None only.
        out_features: names among `stem`, `res2`, ...; the last stage if None. Stages beyond the
            last of them are not built.
        freeze_at: number of leading parts that do not learn (1: the stem).
    """

    def __init__(
        self,
        stem: CNNBlockBase,
        stages: Sequence[Sequence[CNNBlockBase]],
        num_classes: int | None = None,
        out_features: Sequence[str] | None = None,
        freeze_at: int = 0,
    ) -> None:
        super().__init__()
        if num_classes is not None:
            raise ValueError("the bundled ResNet has no classifier; num_classes must be None")
        names = [f"res{number}" for number in range(2, 2 + len(stages))]
        self._out_features = list(out_features or names[-1:])
        assert set(self._out_features) <= {"stem", *names}, (
            f"out_features {self._out_features} must be among {['stem', *names]}"
        )
        used = max(["stem", *names].index(name) for name in self._out_features)
        self.stem = stem
        self.stage_names = tuple(names[:used])
        for name, blocks in zip(self.stage_names, stages, strict=False):
            self.add_module(name, nn.Sequential(*blocks))
        self._describe(stages)
        self.freeze(freeze_at)

    def _describe(self, stages: Sequence[Sequence[CNNBlockBase]]) -> None:
        """Collects channels and strides."""
        stride = self.stem.stride
        self._out_feature_strides = {"stem": stride}
        self._out_feature_channels = {"stem": self.stem.out_channels}
        for name, blocks in zip(self.stage_names, stages, strict=False):
            for block in blocks:
                stride *= block.stride
            self._out_feature_strides[name] = stride
            self._out_feature_channels[name] = blocks[-1].out_channels

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Maps images (N, C, H, W) to the maps of `out_features`."""
        assert x.dim() == 4, (
            f"ResNet takes an input of shape (N, C, H, W). Got {tuple(x.shape)} instead!"
        )
        outputs = {"stem": self.stem(x)}
        x = outputs["stem"]
        for name in self.stage_names:
            x = outputs[name] = getattr(self, name)(x)
        return {name: outputs[name] for name in outputs if name in self._out_features}

    def freeze(self, freeze_at: int = 0) -> ResNet:
        """Freezes the stem (1), the stem and res2 (2), ...; returns the backbone."""
        if freeze_at >= 1:
            self.stem.freeze()
        for name in self.stage_names[: max(freeze_at - 1, 0)]:
            for block in getattr(self, name):
                block.freeze()
        return self

    @staticmethod
    def make_stage(
        block_class: type[CNNBlockBase],
        num_blocks: int,
        *,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        **kwargs: Any,
    ) -> list[CNNBlockBase]:
        """Makes the blocks of a stage; only the first one has the stride.

        Args:
            block_class: the class.
            num_blocks: how many.
            in_channels: channels into the first.
            out_channels: channels out of each.
            stride: of the stage.
            **kwargs: go to every block.
        """
        return [
            block_class(
                in_channels if index == 0 else out_channels,
                out_channels,
                stride=stride if index == 0 else 1,
                **kwargs,
            )
            for index in range(num_blocks)
        ]


@BACKBONE_REGISTRY.register()
def build_resnet_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> ResNet:
    """Builds the ResNet of `cfg.MODEL.RESNETS`, frozen up to `cfg.MODEL.BACKBONE.FREEZE_AT`."""
    keys = cfg.MODEL.RESNETS
    stem = BasicStem(input_shape.channels, keys.STEM_OUT_CHANNELS, norm=keys.NORM)
    return ResNet(
        stem,
        _stages(keys),
        out_features=keys.OUT_FEATURES,
        freeze_at=cfg.MODEL.BACKBONE.FREEZE_AT,
    )


def _stages(keys: CfgNode) -> list[list[CNNBlockBase]]:
    """The blocks of res2 to res5."""
    assert not any(keys.DEFORM_ON_PER_STAGE), "no deformable convolution in the bundled ResNet"
    assert keys.RES5_DILATION in (1, 2), f"RES5_DILATION is {keys.RES5_DILATION}, must be 1 or 2"
    basic = keys.DEPTH in (18, 34)
    if basic:
        assert keys.RES2_OUT_CHANNELS == 64, "RES2_OUT_CHANNELS must be 64 for R18/R34"
        assert keys.RES5_DILATION == keys.NUM_GROUPS == 1, "R18/R34: no dilation, no groups"

    stages = []
    in_channels, out_channels = keys.STEM_OUT_CHANNELS, keys.RES2_OUT_CHANNELS
    width = keys.NUM_GROUPS * keys.WIDTH_PER_GROUP
    for number, num_blocks in enumerate(_BLOCKS_PER_STAGE[keys.DEPTH], start=2):
        dilation = keys.RES5_DILATION if number == 5 else 1
        options: dict[str, Any] = {"norm": keys.NORM}
        if not basic:
            options.update(
                bottleneck_channels=width,
                num_groups=keys.NUM_GROUPS,
                stride_in_1x1=keys.STRIDE_IN_1X1,
                dilation=dilation,
            )
        stages.append(
            ResNet.make_stage(
                BasicBlock if basic else BottleneckBlock,
                num_blocks,
                in_channels=in_channels,
                out_channels=out_channels,
                stride=1 if number == 2 or dilation == 2 else 2,
                **options,
            )
        )
        in_channels, out_channels, width = out_channels, out_channels * 2, width * 2
    return stages
