"""The segmenter equals the released one in float64, on arrays measured there."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from dvis_daq.segmenter import Segmenter
from dvis_daq.structures import FrameOutputs
from tests.parity.golden.cases import Case, load_cases

CASES = ("segmenter_r50", "segmenter_r50_q100")
BACKBONE_MAPS = ("res2", "res3", "res4", "res5")


@pytest.fixture(scope="module", params=CASES)
def case(request, reference_dir) -> Case:
    return next(case for case in load_cases(reference_dir) if case.name == request.param)


@pytest.fixture(scope="module")
def segmenter(case) -> Segmenter:
    return case.model(torch.float64).segmenter


@torch.no_grad()
def test_maps_equal_the_release(case, segmenter):
    golden = case.arrays
    x = segmenter.normalize(images(case))
    close(x[0, :, 0, :8], golden["input_first_pixels"], 2e-7)
    maps = segmenter.backbone(x)
    for key in BACKBONE_MAPS:
        image = maps[key]
        close(image[:, :64].mean((2, 3)), golden[f"{key}_mean"], 2e-7)
        close(image.flatten(1).std(1, correction=0), golden[f"{key}_std"], 2e-7)
        close(image.flatten(1)[:, :64], golden[f"{key}_head"], 2e-7)
    close(maps["res5"][0], golden["res5_frame0"], 2e-7)

    levels, mask_features = segmenter.sem_seg_head.pixel_decoder(maps)
    close(mask_features[0], golden["mask_features_frame0"], 2e-6)
    for index, level in enumerate(levels):
        close(level[0], golden[f"multi_scale_{index}_frame0"], 2e-6)


@torch.no_grad()
def test_candidates_equal_the_release(case, segmenter):
    frames = segmenter(images(case))
    assert frames.deep_logits is None and frames.deep_masks is None
    assert_candidates(frames, case.arrays)


@torch.no_grad()
def test_training_mode_adds_every_layer(case, segmenter):
    segmenter.train()
    try:
        frames = segmenter(images(case)[:1])
    finally:
        segmenter.eval()
    close(frames.deep_logits[:-1, 0], case.arrays["aux_logits_frame0"], 5e-6)
    close(frames.masks[0], case.arrays["pred_masks_frame0"], 1e-5)
    assert torch.equal(frames.deep_logits[-1], frames.logits)
    assert torch.equal(frames.deep_masks[-1], frames.masks)


def test_names_and_shapes_are_the_released_ones(segmenter, reference_dir):
    manifest = (reference_dir / "state_dicts" / "DAQ_Online_R50_ovis.json").read_text()
    released = {key: tuple(value["shape"]) for key, value in json.loads(manifest).items()}
    ours = {key: tuple(value.shape) for key, value in segmenter.state_dict().items()}
    assert set(ours) == {key for key in released if key.startswith(("backbone.", "sem_seg_head."))}
    # The cases differ in the number of queries.
    assert not [key for key in ours if ".query_" not in key and ours[key] != released[key]]


def images(case: Case) -> torch.Tensor:
    return case.images(torch.float64, case.entry["frames"])


def assert_candidates(frames: FrameOutputs, golden: dict[str, np.ndarray]) -> None:
    """Within the distances that a correct float64 build keeps."""
    close(frames.logits, golden["pred_logits"], 5e-6)
    close(frames.embeds, golden["pred_embds"], 5e-6)
    close(frames.raw_embeds[0], golden["pred_embds_without_norm_frame0"], 5e-6)
    close(frames.reid, golden["pred_reid_embed"], 5e-6)
    close(frames.masks[0], golden["pred_masks_frame0"], 1e-5)
    assert np.array_equal(frames.masks[0] > 0, golden["pred_masks_frame0"] > 0)


def close(actual: torch.Tensor, expected: np.ndarray, tolerance: float) -> None:
    """Asserts equal shapes and |actual - expected| <= tolerance (1 + |expected|)."""
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)
