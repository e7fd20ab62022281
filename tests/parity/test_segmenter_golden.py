"""The segmenter equals the released one in float64, on arrays measured there."""

import numpy as np
import pytest
import torch

from dvis_daq.segmenter import Segmenter
from tests.parity.golden_utils import Reference, assert_close, r50_segmenter, shapes

CASES = ("segmenter_r50", "segmenter_r50_q100")
BACKBONE_MAPS = ("res2", "res3", "res4", "res5")


@pytest.fixture(scope="module")
def reference(reference_dir) -> Reference:
    return Reference(reference_dir)


@pytest.fixture(scope="module")
def segmenters(reference) -> dict[str, Segmenter]:
    """One for each case, in float64."""
    built = {}
    for name in CASES:
        case = reference.case(name)
        queries = case["overrides"].get("MODEL.MASK_FORMER.NUM_OBJECT_QUERIES", 100)
        segmenter = r50_segmenter(num_queries=queries, num_classes=25).double().eval()
        reference.fill(segmenter, case["weight_seed"])
        built[name] = segmenter
    return built


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_maps_equal_the_release(name, reference, segmenters):
    segmenter, golden = segmenters[name], reference.arrays(name)
    x = segmenter.normalize(reference.images(name))
    assert_close(x[0, :, 0, :8], golden["input_first_pixels"], 2e-7)
    maps = segmenter.backbone(x)
    for key in BACKBONE_MAPS:
        image = maps[key]
        assert_close(image[:, :64].mean((2, 3)), golden[f"{key}_mean"], 2e-7, key)
        assert_close(image.flatten(1).std(1, correction=0), golden[f"{key}_std"], 2e-7, key)
        assert_close(image.flatten(1)[:, :64], golden[f"{key}_head"], 2e-7, key)
    assert_close(maps["res5"][0], golden["res5_frame0"], 2e-7)

    levels, mask_features = segmenter.sem_seg_head.pixel_decoder(maps)
    assert_close(mask_features[0], golden["mask_features_frame0"], 2e-6)
    for index, level in enumerate(levels):
        assert_close(level[0], golden[f"multi_scale_{index}_frame0"], 2e-6)


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_candidates_equal_the_release(name, reference, segmenters):
    golden = reference.arrays(name)
    frames = segmenters[name](reference.images(name))
    assert frames.deep_logits is None and frames.deep_masks is None
    assert_candidates(frames, golden)


@torch.no_grad()
def test_training_mode_adds_every_layer(reference, segmenters):
    name = "segmenter_r50"
    golden = reference.arrays(name)
    segmenters[name].train()
    try:
        frames = segmenters[name](reference.images(name))
    finally:
        segmenters[name].eval()
    assert_candidates(frames, golden)
    assert_close(frames.deep_logits[:-1, 0], golden["aux_logits_frame0"], 5e-6)
    assert torch.equal(frames.deep_logits[-1], frames.logits)
    assert torch.equal(frames.deep_masks[-1], frames.masks)


@pytest.mark.parametrize(
    ("manifest", "reid"),
    [("DAQ_Online_R50_ovis", True), ("MinVIS_R50_ovis", False), ("CTVIS_R50_ovis", True)],
)
def test_names_and_shapes_are_the_released_ones(manifest, reid, reference):
    ours = shapes(r50_segmenter(num_queries=100, num_classes=25, reid=reid))
    theirs = {
        key: value["shape"]
        for key, value in reference.manifest(manifest).items()
        if key.startswith(("backbone.", "sem_seg_head."))
    }
    assert ours == theirs


def assert_candidates(frames, golden: dict[str, np.ndarray]) -> None:
    """Within the distances that a correct float64 build keeps."""
    assert_close(frames.logits, golden["pred_logits"], 5e-6)
    assert_close(frames.embeds, golden["pred_embds"], 5e-6)
    assert_close(frames.raw_embeds[0], golden["pred_embds_without_norm_frame0"], 5e-6)
    assert_close(frames.reid, golden["pred_reid_embed"], 5e-6)
    assert_close(frames.masks[0], golden["pred_masks_frame0"], 1e-5)
    assert np.array_equal(frames.masks[0] > 0, golden["pred_masks_frame0"] > 0)
