"""The segmentation head equals an independent Mask2Former, that of `transformers`."""

from collections import namedtuple

import pytest
import torch
from torch import Tensor, nn

from dvis_daq.segmenter import PixelDecoder, QueryDecoder, SegmentationHead

transformers = pytest.importorskip("transformers")

SIZES = {"hidden": 64, "mask": 32, "heads": 4, "queries": 8, "classes": 5}
ENCODER_LAYERS, DECODER_LAYERS = 2, 4
BACKBONE_WIDTHS = {"res2": 16, "res3": 32, "res4": 48, "res5": 64}
Shape = namedtuple("Shape", "channels stride")

# (ours, theirs), for a whole name or the part of it before a layer's own parameters.
HEAD_NAMES = [
    ("pixel_decoder.transformer.level_embed", "pixel_level_module.decoder.level_embed"),
    ("pixel_decoder.input_proj.", "pixel_level_module.decoder.input_projections."),
    ("pixel_decoder.mask_features.", "pixel_level_module.decoder.mask_projection."),
    ("pixel_decoder.adapter_1.norm.", "pixel_level_module.decoder.adapter_1.1."),
    ("pixel_decoder.adapter_1.", "pixel_level_module.decoder.adapter_1.0."),
    ("pixel_decoder.layer_1.norm.", "pixel_level_module.decoder.layer_1.1."),
    ("pixel_decoder.layer_1.", "pixel_level_module.decoder.layer_1.0."),
    ("predictor.query_feat.", "transformer_module.queries_features."),
    ("predictor.query_embed.", "transformer_module.queries_embedder."),
    ("predictor.level_embed.", "transformer_module.level_embed."),
    ("predictor.decoder_norm.", "transformer_module.decoder.layernorm."),
    ("predictor.class_embed.", "class_predictor."),
    *(
        (
            f"predictor.mask_embed.layers.{i}.",
            f"transformer_module.decoder.mask_predictor.mask_embedder.{i}.0.",
        )
        for i in range(3)
    ),
]
ENCODER_NAMES = [
    ("self_attn.", "self_attn."),
    ("norm1.", "self_attn_layer_norm."),
    ("linear1.", "fc1."),
    ("linear2.", "fc2."),
    ("norm2.", "final_layer_norm."),
]
DECODER_NAMES = [
    ("cross_attention_layers.{}.multihead_attn.", "cross_attn."),
    ("cross_attention_layers.{}.norm.", "cross_attn_layer_norm."),
    ("self_attention_layers.{}.self_attn.", "self_attn."),
    ("self_attention_layers.{}.norm.", "self_attn_layer_norm."),
    ("ffn_layers.{}.linear1.", "fc1."),
    ("ffn_layers.{}.linear2.", "fc2."),
    ("ffn_layers.{}.norm.", "final_layer_norm."),
]


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
    head.load_state_dict(rename(peer.state_dict()), strict=True)
    return head


def rename(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Their weights under our names."""
    theirs = pack_projections({key.removeprefix("model."): v for key, v in theirs.items()})
    table = list(HEAD_NAMES)
    for i in range(ENCODER_LAYERS):
        ours = f"pixel_decoder.transformer.encoder.layers.{i}."
        layer = f"pixel_level_module.decoder.encoder.layers.{i}."
        table += [(ours + a, layer + b) for a, b in ENCODER_NAMES]
    for i in range(DECODER_LAYERS):
        layer = f"transformer_module.decoder.layers.{i}."
        table += [("predictor.transformer_" + a.format(i), layer + b) for a, b in DECODER_NAMES]
    return {
        ours + key[len(start) :]: value
        for ours, start in table
        for key, value in theirs.items()
        if key.startswith(start)
    }


def pack_projections(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Their self-attention keeps query, key and value projections apart; ours is one matrix."""
    packed = dict(weights)
    for key in weights:
        if ".q_proj." in key:
            parts = [packed.pop(key.replace("q_proj", f"{name}_proj")) for name in "qkv"]
            packed[key.replace("q_proj.", "in_proj_")] = torch.cat(parts)
    return packed


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
