"""Where a training starts when MODEL.WEIGHTS is empty."""

from dvis_daq.config import get_config
from dvis_daq.engine.start import start_file
from tests.conftest import ROOT

FILE = ["MODEL.VIT_ADAPTER.VIT_WEIGHT", "dinov2.pth"]


def test_vit_starts_from_its_own_file() -> None:
    cfg = get_config(ROOT / "configs" / "ovis" / "CTVIS_ViTL.yaml", FILE)
    assert start_file(cfg) == "dinov2.pth"


def test_file_of_the_vit_is_left_alone_by_other_backbones() -> None:
    cfg = get_config(ROOT / "configs" / "ovis" / "CTVIS_R50.yaml", FILE)
    assert start_file(cfg) == ""
