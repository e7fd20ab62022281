from pathlib import Path

import pytest
import torch
from detectron2.layers import FrozenBatchNorm2d

import dvis_daq.recipes  # noqa: F401  registers the methods
from dvis_daq.checkpoint import write_weights
from dvis_daq.config import get_config
from dvis_daq.engine.setup import build_model
from dvis_daq.engine.trained import trained_model
from dvis_daq.structures import FrameOutputs
from tests.unit.test_predictor import CONFIG, TINY


def outputs(tmp_path: Path, *opts: object) -> tuple[FrameOutputs, FrameOutputs]:
    """Of a checkpoint's model as it is trained, and as it is run."""
    model = build_model(get_config(CONFIG, TINY)).eval()
    file = tmp_path / "model.safetensors"
    write_weights(file, model.state_dict())
    run, _ = trained_model(get_config(CONFIG, [*TINY, "MODEL.WEIGHTS", str(file), *opts]))
    assert not run.training
    assert not any(isinstance(m, FrozenBatchNorm2d) for m in run.modules())
    images = torch.randint(0, 256, (2, 3, 48, 64), dtype=torch.uint8)
    with torch.no_grad():
        [[plain, _], [found, _]] = [list(m.segmented(images)) for m in (model, run)]
    return plain, found


def test_gives_what_the_trained_model_gives(tmp_path: Path) -> None:
    plain, found = outputs(tmp_path)
    torch.testing.assert_close(found.masks, plain.masks, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.logits, plain.logits, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_compiled_too(tmp_path: Path) -> None:
    plain, found = outputs(tmp_path, "TEST.COMPILE", True)
    torch.testing.assert_close(found.masks, plain.masks, rtol=1e-3, atol=1e-3)
