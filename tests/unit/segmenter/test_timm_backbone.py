from pathlib import Path

import pytest
import torch

from dvis_daq.config import get_config
from dvis_daq.segmenter.timm_backbone import TimmBackbone, build_timm_backbone

STRIDES = {"res2": 4, "res3": 8, "res4": 16, "res5": 32}


@pytest.mark.parametrize(
    "name", ["resnet18", "convnext_atto", "mobilenetv3_small_050", "swin_tiny_patch4_window7_224"]
)
@torch.no_grad()
def test_maps_have_the_announced_shapes(name: str) -> None:
    backbone = TimmBackbone(name).eval()
    maps = backbone(torch.randn(2, 3, 64, 96))
    shapes = backbone.output_shape()
    assert {key: shape.stride for key, shape in shapes.items()} == STRIDES
    for key, image in maps.items():
        assert image.shape == (2, shapes[key].channels, 64 // STRIDES[key], 96 // STRIDES[key])


@torch.no_grad()
def test_map_as_tall_as_wide_in_channels_is_turned_round() -> None:
    backbone = TimmBackbone(
        "swin_tiny_patch4_window7_224", args={"embed_dim": 24, "depths": (1, 1, 1, 1)}
    )
    assert backbone(torch.randn(1, 3, 96, 64))["res2"].shape == (1, 24, 24, 16)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet18_big", "no model 'resnet18_big'; similar"),
        ("vit_tiny_patch16_224", r"strides \[16, 16, 16\], none of \[4, 8, 32\].*VIT_ADAPTER"),
        ("mixer_s32_224", "maps"),
    ],
)
def test_model_without_the_maps_is_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"MODEL.TIMM.NAME: .*{message}"):
        TimmBackbone(name)


def test_arguments_reach_timm(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("MODEL: {TIMM: {NAME: convnext_atto, ARGS: {dims: [8, 16, 24, 32]}}}")
    shapes = build_timm_backbone(get_config(file), None).output_shape()
    assert [shape.channels for shape in shapes.values()] == [8, 16, 24, 32]
