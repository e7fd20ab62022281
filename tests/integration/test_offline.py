"""Offline models: how a video is cut, and where its features wait, changes no result."""

from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model

import dvis_daq.recipes  # noqa: F401
from dvis_daq.config import get_config
from tests.tiny_run import tiny_config


@pytest.mark.parametrize("recipe", ["DVIS_offline", "DVIS_DAQ_offline"])
def test_windows_and_kept_features_change_nothing(recipe: str, tmp_path: Path) -> None:
    file = tiny_config(tmp_path, recipe)
    options = ["TEST.MASK_DTYPE", "none", "MODEL.LIFECYCLE.FIRST_SCORE", "0.0"]
    torch.manual_seed(0)
    model = build_model(get_config(file, options)).double().eval()
    images = torch.randint(256, (7, 3, 64, 64)).double()
    whole = model.predict(images)
    assert whole.masks.shape[1] == 7
    for window, keep in ((2, False), (2, True), (7, True)):
        model.window, model.keep_features = window, keep
        pieces = model.predict(images)
        torch.testing.assert_close(pieces.logits, whole.logits)
        torch.testing.assert_close(pieces.masks, whole.masks)
        assert torch.equal(pieces.ids, whole.ids)


@pytest.mark.parametrize("temporal", ["appearance", "zero", "learned", "none"])
@pytest.mark.parametrize("spatial", ["naive", "no"])
def test_every_padding_predicts(temporal: str, spatial: str, tmp_path: Path) -> None:
    options = ["MODEL.REFINER.TEMPORAL_PADDING", temporal, "MODEL.LIFECYCLE.FIRST_SCORE", "0.0"]
    options += ["MODEL.REFINER.SPATIAL_PADDING", spatial, "MODEL.LIFECYCLE.SCORE", "0.0"]
    file = tiny_config(tmp_path, "DVIS_DAQ_offline")
    torch.manual_seed(0)
    model = build_model(get_config(file, options)).eval()
    prediction = model.predict(torch.randint(256, (4, 3, 64, 64)))
    assert len(prediction) >= model.segmenter.num_queries
    assert prediction.logits.isfinite().all()
