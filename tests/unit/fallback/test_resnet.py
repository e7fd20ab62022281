"""ResNet: contract 4.4, on both sides, and equality with torchvision."""

import re

import pytest
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.layers import FrozenBatchNorm2d, ShapeSpec
from detectron2.modeling import build_backbone
from detectron2.modeling.backbone.resnet import BasicBlock, BasicStem, ResNet
from torch import Tensor, nn

ALL = ["res2", "res3", "res4", "res5"]


def config(depth: int = 50, **keys: object) -> CfgNode:
    cfg = get_cfg()
    cfg.MODEL.BACKBONE.FREEZE_AT = keys.pop("FREEZE_AT", 0)
    cfg.MODEL.RESNETS.DEPTH = depth
    cfg.MODEL.RESNETS.OUT_FEATURES = ALL
    cfg.MODEL.RESNETS.STRIDE_IN_1X1 = False
    if depth < 50:
        cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 64
    for key, value in keys.items():
        cfg.MODEL.RESNETS[key] = value
    return cfg


def from_torchvision(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's names in Detectron2's words."""
    renamed = {}
    for name, tensor in state.items():
        if name.startswith("fc.") or name.endswith("num_batches_tracked"):
            continue
        name = re.sub(r"layer(\d)", lambda match: f"res{int(match[1]) + 1}", name)
        name = re.sub(r"bn(\d)", r"conv\1.norm", name)
        name = name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")
        renamed[name if name.startswith("res") else f"stem.{name}"] = tensor
    return renamed


@pytest.mark.parametrize("depth", [18, 50])
def test_equals_torchvision(depth: int) -> None:
    models = pytest.importorskip("torchvision.models")
    peer = getattr(models, f"resnet{depth}")(weights=None).eval()
    for module in peer.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    backbone = build_backbone(config(depth)).eval()
    backbone.load_state_dict(from_torchvision(peer.state_dict()), strict=True)
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        ours = backbone(x)
        theirs = peer.maxpool(peer.relu(peer.bn1(peer.conv1(x))))
        for name, layer in zip(ALL, ["layer1", "layer2", "layer3", "layer4"], strict=True):
            theirs = getattr(peer, layer)(theirs)
            assert torch.equal(ours[name], theirs), name


def test_names_of_resnet_50() -> None:
    names = list(build_backbone(config()).state_dict())
    assert len(names) == 265 and names[0] == "stem.conv1.weight"
    assert names.index("res2.0.shortcut.weight") < names.index("res2.0.conv1.weight")
    assert "res5.2.conv3.norm.running_var" in names
    assert len(build_backbone(config(NORM="BN")).state_dict()) == 318


def test_shapes() -> None:
    backbone = build_backbone(config())
    expected = {name: ShapeSpec(channels=256 * 2**i, stride=4 * 2**i) for i, name in enumerate(ALL)}
    assert backbone.output_shape() == expected
    assert backbone.size_divisibility == 0
    outputs = backbone(torch.randn(1, 3, 32, 64))
    assert outputs["res5"].shape == (1, 2048, 1, 2) and list(outputs) == ALL
    with pytest.raises(AssertionError, match=r"ResNet takes an input of shape \(N, C, H, W\)"):
        backbone(torch.randn(3, 32, 64))


@pytest.mark.parametrize(("depth", "blocks"), [(34, 16), (101, 33)])
def test_other_depths(depth: int, blocks: int) -> None:
    backbone = build_backbone(config(depth))
    assert sum(name.endswith("conv2.weight") for name in backbone.state_dict()) == blocks


def test_freezing() -> None:
    backbone = build_backbone(config(FREEZE_AT=2, NORM="BN"))
    convolutions = {n: p for n, p in backbone.named_parameters() if p.dim() == 4}
    frozen = {name for name, parameter in convolutions.items() if not parameter.requires_grad}
    assert len(frozen) == 11 and len(convolutions) - len(frozen) == 42
    assert all(name.startswith(("stem.", "res2.")) for name in frozen)
    assert isinstance(backbone.stem.conv1.norm, FrozenBatchNorm2d)
    assert isinstance(backbone.res3[0].conv1.norm, nn.BatchNorm2d)


def test_stages_beyond_the_last_feature_are_not_built() -> None:
    cfg = get_cfg()
    assert not any(name.startswith("res5") for name in build_backbone(cfg).state_dict())


def test_stride_in_1x1() -> None:
    block = build_backbone(config(STRIDE_IN_1X1=True)).res3[0]
    assert block.conv1.stride == (2, 2) and block.conv2.stride == (1, 1)


def test_dilation() -> None:
    backbone = build_backbone(config(RES5_DILATION=2))
    assert backbone.output_shape()["res5"].stride == 16
    assert backbone(torch.randn(1, 3, 32, 32))["res5"].shape[-1] == 2


def test_a_small_one_from_blocks() -> None:
    stages = [
        ResNet.make_stage(
            BasicBlock, 1, in_channels=ins, out_channels=out, stride=stride, norm="BN"
        )
        for ins, out, stride in ((8, 8, 1), (8, 16, 2))
    ]
    backbone = ResNet(BasicStem(3, 8, norm="BN"), stages, out_features=["res2", "res3"])
    assert backbone(torch.randn(1, 3, 32, 32))["res3"].shape == (1, 16, 4, 4)
