"""The literal implementation that the benchmarks compare with gives the numbers of the package."""

import pytest
import torch

import dvis_daq.recipes  # noqa: F401
from benchmarks.literal import LiteralModel, Thresholds
from dvis_daq.checkpoint import to_official
from dvis_daq.config import get_config
from dvis_daq.engine.setup import build_model
from dvis_daq.tasks.vis import decode
from tests.conftest import ROOT

CONFIG = ROOT / "configs" / "ovis" / "DVIS_DAQ_online_R50.yaml"
SMALL = """MODEL.DEVICE cpu MODEL.WEIGHTS - MODEL.MASK_FORMER.HIDDEN_DIM 64
    MODEL.SEM_SEG_HEAD.CONVS_DIM 64 MODEL.SEM_SEG_HEAD.MASK_DIM 64
    MODEL.MASK_FORMER.NUM_OBJECT_QUERIES 12 MODEL.MASK_FORMER.DIM_FEEDFORWARD 64
    MODEL.SEM_SEG_HEAD.DEFORMABLE_TRANSFORMER_ENCODER_FEEDFORWARD 64
    MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS 1 MODEL.MASK_FORMER.DEC_LAYERS 4
    MODEL.TRACKER.LAYERS 2 MODEL.LIFECYCLE.PATIENCE 2 TEST.MASK_DTYPE none"""


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    cfg = get_config(CONFIG, ["" if word == "-" else word for word in SMALL.split()])
    model = build_model(cfg).double().eval()
    literal = LiteralModel(
        to_official(model.state_dict()),
        mean=cfg.MODEL.PIXEL_MEAN,
        std=cfg.MODEL.PIXEL_STD,
        thresholds=Thresholds(**rules(model)),
    )
    return model, literal


def rules(model) -> dict[str, float]:
    names = ("score", "first_score", "foreground_score", "patience")
    return {name: getattr(model.lifecycle, name) for name in names}


def test_equal_segmenter(models):
    model, literal = models
    images = torch.randint(0, 256, (2, 3, 60, 90)).double()
    with torch.no_grad():
        ours, theirs = model.segmenter(images), literal.segment(images)
    for name in ("embeds", "logits", "masks", "mask_features"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), atol=1e-6, rtol=1e-6)


def test_equal_results(models):
    model, literal = models
    images = torch.randint(0, 256, (7, 3, 60, 90)).double()  # more than one window
    with torch.no_grad():
        [ours] = model([{"images": images, "height": 70, "width": 100}])
    theirs = literal(images, (70, 100))
    assert len(ours["scores"])
    torch.testing.assert_close(ours["scores"], theirs["scores"], atol=1e-6, rtol=1e-6)
    assert ours["labels"].equal(theirs["labels"])
    assert ours["ids"].equal(theirs["rows"])
    for mine, his in zip(ours["masks"], theirs["masks"], strict=True):
        assert (decode(mine, (70, 100)) == decode(his, (70, 100))).all()
