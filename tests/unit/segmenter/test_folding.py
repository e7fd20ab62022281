import copy

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.layers import FrozenBatchNorm2d, ShapeSpec
from detectron2.modeling import build_backbone
from torch import nn

from dvis_daq.segmenter.folding import fold_frozen_norms


@pytest.fixture
def resnet() -> nn.Module:
    cfg = get_cfg()
    cfg.MODEL.RESNETS.DEPTH = 18
    cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 64
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res2", "res5"]
    torch.manual_seed(0)
    backbone = build_backbone(cfg, ShapeSpec(channels=3)).eval()
    for norm in backbone.modules():
        if isinstance(norm, FrozenBatchNorm2d):
            for name, buffer in norm.named_buffers():
                if buffer.is_floating_point():
                    buffer.uniform_(0.5, 1.5) if name != "running_mean" else buffer.normal_()
    return backbone


def test_computes_the_same(resnet):
    resnet.double()
    image = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    folded = copy.deepcopy(resnet)
    count = fold_frozen_norms(folded)
    assert count == sum(isinstance(m, FrozenBatchNorm2d) for m in resnet.modules()) > 0
    assert not any(isinstance(m, FrozenBatchNorm2d) for m in folded.modules())
    with torch.no_grad():
        for name, expected in resnet(image).items():
            torch.testing.assert_close(folded(image)[name], expected, rtol=1e-10, atol=1e-8)


def test_half_precision_weights_run_under_autocast(resnet):
    image = torch.randn(1, 3, 64, 64)
    folded = copy.deepcopy(resnet)
    fold_frozen_norms(folded, dtype=torch.bfloat16)
    convolutions = [m for m in folded.modules() if isinstance(m, nn.Conv2d)]
    assert {conv.weight.dtype for conv in convolutions} == {torch.bfloat16}
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected, found = resnet(image), folded(image)
    for name in expected:
        near = expected[name].float()
        assert (found[name].float() - near).norm() < 0.02 * near.norm()


def test_other_norms_stay():
    trained = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    before = copy.deepcopy(trained.state_dict())
    assert fold_frozen_norms(trained) == 0
    assert all(torch.equal(before[name], value) for name, value in trained.state_dict().items())
