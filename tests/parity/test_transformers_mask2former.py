"""The segmentation head equals an independent Mask2Former, that of `transformers`."""

from collections import namedtuple

import pytest
import torch
from torch import Tensor, nn

from dvis_daq.checkpoint import from_transformers
from dvis_daq.segmenter import PixelDecoder, QueryDecoder, SegmentationHead

transformers = pytest.importorskip("transformers")

SIZES = {"hidden": 64, "mask": 32, "heads": 4, "queries": 8, "classes": 5}
ENCODER_LAYERS, DECODER_LAYERS = 2, 4
BACKBONE_WIDTHS = {"res2": 16, "res3": 32, "res4": 48, "res5": 64}
Shape = namedtuple("Shape", "channels stride")


@pytest.fixture(scope="module")
def peer() -> nn.Module:
    """Theirs, with every parameter random."""
    backbone = transformers.ResNetConfig(
        embedding_size=16,
        hidden_sizes=list(BACKBONE_WIDTHS.values()),
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=SIZES["hidden"],
        mask_feature_size=SIZES["mask"],
        hidden_dim=SIZES["hidden"],
        num_attention_heads=SIZES["heads"],
        num_queries=SIZES["queries"],
        num_labels=SIZES["classes"],
        encoder_layers=ENCODER_LAYERS,
        encoder_feedforward_dim=48,
        decoder_layers=DECODER_LAYERS + 1,
        dim_feedforward=96,
        dropout=0.0,
    )
    torch.manual_seed(0)
    model = transformers.Mask2FormerForUniversalSegmentation(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def head(peer) -> SegmentationHead:
    """Ours, with their weights."""
    shapes = {name: Shape(width, 4 << i) for i, (name, width) in enumerate(BACKBONE_WIDTHS.items())}
    options = {"hidden_dim": SIZES["hidden"], "mask_dim": SIZES["mask"], "heads": SIZES["heads"]}
    head = SegmentationHead(
        pixel_decoder=PixelDecoder(shapes, ffn_dim=48, num_layers=ENCODER_LAYERS, **options),
        predictor=QueryDecoder(
            SIZES["hidden"],
            num_queries=SIZES["queries"],
            num_classes=SIZES["classes"],
            num_layers=DECODER_LAYERS,
            ffn_dim=96,
            **options,
        ),
    )
    head.load_state_dict(released_names(peer.state_dict()), strict=True)
    return head


def released_names(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Their weights under the names of the head."""
    prefix = "sem_seg_head."
    renamed = from_transformers(theirs).items()
    return {name.removeprefix(prefix): v for name, v in renamed if name.startswith(prefix)}


@pytest.mark.parametrize("size", [(64, 96), (83, 133)])  # even maps; odd maps on every level
@torch.no_grad()
def test_head_equals_transformers(size, peer, head):
    images = torch.randn(2, 3, *size)
    theirs = peer(images, output_auxiliary_logits=True)
    maps = peer.model.pixel_level_module.encoder(images).feature_maps
    features = dict(zip(BACKBONE_WIDTHS, maps, strict=True))

    ours = head.eval()(features)
    assert distance(ours.mask_features, theirs.pixel_decoder_last_hidden_state) < 1e-4
    assert distance(ours.logits, theirs.class_queries_logits) < 1e-4
    assert distance(ours.masks, theirs.masks_queries_logits) < 1e-4

    ours = head.train()(features)
    for layer, auxiliary in enumerate(theirs.auxiliary_logits):
        assert distance(ours.deep_logits[layer], auxiliary["class_queries_logits"]) < 1e-4
        assert distance(ours.deep_masks[layer], auxiliary["masks_queries_logits"]) < 1e-4


def distance(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return (a - b).abs().max().item()
