from collections import namedtuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dvis_daq.segmenter import (
    PixelDecoder,
    PixelFeatures,
    QueryDecoder,
    SegmentationHead,
    Segmenter,
    reid_head,
)

Shape = namedtuple("Shape", "channels stride")
DIM, MASK_DIM, QUERIES, CLASSES, LAYERS = 32, 16, 6, 5, 4
MEAN, STD = (100.0, 110.0, 120.0), (50.0, 55.0, 60.0)


class Pyramid(nn.Module):
    """A backbone of strided convolutions."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 4, stride=4)
        self.steps = nn.ModuleList(nn.Conv2d(width, width, 2, stride=2) for _ in range(3))

    def output_shape(self) -> dict[str, Shape]:
        return {f"res{i + 2}": Shape(8, 4 << i) for i in range(4)}

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps = [self.stem(x)]
        for step in self.steps:
            maps.append(step(maps[-1]))
        return {f"res{i + 2}": image for i, image in enumerate(maps)}


@pytest.fixture
def segmenter() -> Segmenter:
    backbone = Pyramid()
    return Segmenter(
        backbone=backbone,
        sem_seg_head=SegmentationHead(
            pixel_decoder=PixelDecoder(
                backbone.output_shape(),
                hidden_dim=DIM,
                mask_dim=MASK_DIM,
                ffn_dim=24,
                num_layers=1,
            ),
            predictor=QueryDecoder(
                DIM,
                hidden_dim=DIM,
                mask_dim=MASK_DIM,
                num_queries=QUERIES,
                num_classes=CLASSES,
                num_layers=LAYERS,
                ffn_dim=24,
                reid=reid_head(DIM, hidden_dim=24),
            ),
        ),
        pixel_mean=MEAN,
        pixel_std=STD,
    )


@pytest.fixture
def images() -> Tensor:
    return torch.randint(0, 256, (5, 3, 40, 70), dtype=torch.uint8)


def test_images_are_normalised_then_padded_with_zeros(segmenter, images):
    x = segmenter.normalize(images)
    assert x.shape == (5, 3, 64, 96)
    expected = (images[2, 1, 10, 20].float() - 110) / 55
    torch.testing.assert_close(x[2, 1, 10, 20], expected)
    assert not x[..., 40:, :].any() and not x[..., 70:].any()
    assert segmenter.normalize(images[..., :32, :64]).shape == (5, 3, 32, 64)


def test_images_of_another_shape_are_refused(segmenter):
    with pytest.raises(ValueError, match=r"\(2, 40, 70, 3\), expected \(T, 3, H, W\)"):
        segmenter(torch.zeros(2, 40, 70, 3))


def test_shapes_and_sizes(segmenter, images):
    frames = segmenter.eval()(images)
    assert frames.embeds.shape == frames.raw_embeds.shape == (5, QUERIES, DIM)
    assert frames.reid.shape == (5, QUERIES, DIM)
    assert frames.logits.shape == (5, QUERIES, CLASSES + 1)
    assert frames.masks.shape == (5, QUERIES, 16, 24)
    assert frames.mask_features.shape == (5, MASK_DIM, 16, 24)
    assert frames.initial_queries.shape == (QUERIES, DIM)
    sizes = segmenter.num_queries, segmenter.num_classes, segmenter.hidden_dim, segmenter.mask_dim
    assert sizes == (QUERIES, CLASSES, DIM, MASK_DIM)


def test_training_decodes_every_layer_to_the_same_result(segmenter, images):
    training, evaluation = segmenter.train()(images), segmenter.eval()(images)
    assert training.deep_logits.shape == (LAYERS + 1, 5, QUERIES, CLASSES + 1)
    assert training.deep_masks.shape == (LAYERS + 1, 5, QUERIES, 16, 24)
    assert evaluation.deep_logits is None and evaluation.deep_masks is None
    torch.testing.assert_close(training.deep_masks[-1], evaluation.masks)
    torch.testing.assert_close(training.logits, evaluation.logits)


def test_every_parameter_learns(segmenter, images):
    frames = segmenter.train()(images[:1])
    outputs = (frames.deep_logits, frames.deep_masks, frames.reid)
    sum(x.square().sum() for x in outputs).backward()
    without = [name for name, p in segmenter.named_parameters() if p.grad is None]
    assert not without


@pytest.mark.parametrize(
    ("half", "dtype"), [(torch.float16, torch.float32), (torch.bfloat16, torch.bfloat16)]
)
def test_the_pixel_decoder_avoids_only_the_range_of_float16(segmenter, images, half, dtype):
    with torch.autocast("cpu", dtype=half):
        frames = segmenter.train()(images[:1])
    assert frames.mask_features.dtype == dtype
    assert frames.deep_masks.isfinite().all()


def test_pixel_statistics_are_not_in_the_checkpoint(segmenter):
    assert not [key for key in segmenter.state_dict() if "pixel_mean" in key or "pixel_std" in key]


def test_attention_is_blocked_outside_the_resized_masks():
    decoder = QueryDecoder(8, hidden_dim=8, mask_dim=4, num_queries=3, num_classes=2, num_levels=1)
    decoder.double()
    features = PixelFeatures([torch.randn(2, 8, 5, 7).double()], torch.randn(2, 4, 11, 13).double())
    embeds = torch.randn(2, 3, 4).double().requires_grad_()
    memory = decoder._memory(0, features)
    masks = torch.einsum("tqd,tdhw->tqhw", embeds, features.mask_features)
    small = F.interpolate(masks, (5, 7), mode="bilinear", align_corners=False).flatten(2)
    blocked = memory.blocked(embeds)
    assert torch.equal(blocked, small.sigmoid() < 0.5) and blocked.any() and not blocked.all()


def test_an_empty_mask_blocks_nothing():
    decoder = QueryDecoder(8, hidden_dim=8, mask_dim=4, num_queries=3, num_classes=2, num_levels=1)
    memory = decoder._memory(0, PixelFeatures([torch.randn(1, 8, 5, 7)], torch.ones(1, 4, 11, 13)))
    embeds = torch.tensor([[[-1.0] * 4, [1.0] * 4]])  # outside everywhere, inside everywhere
    assert not memory.blocked(embeds).any()


def test_decoder_of_another_width_than_the_pixel_decoder():
    decoder = QueryDecoder(
        8, hidden_dim=16, mask_dim=4, num_queries=3, num_classes=2, num_layers=2, ffn_dim=8
    )
    levels = [torch.randn(1, 8, n, n) for n in (2, 4, 8)]
    assert decoder(PixelFeatures(levels, torch.randn(1, 4, 16, 16))).embeds.shape == (1, 3, 16)


@pytest.mark.parametrize(
    ("coarse", "steps"), [(["res3", "res4", "res5"], 1), (["res5", "res4"], 2), (["res5"], 3)]
)
def test_the_fpn_bridges_to_stride_4(coarse, steps):
    backbone = Pyramid()
    decoder = PixelDecoder(
        backbone.output_shape(),
        transformer_features=coarse,
        hidden_dim=DIM,
        mask_dim=MASK_DIM,
        ffn_dim=24,
        num_layers=1,
    )
    levels, mask_features, finest = decoder(backbone(torch.randn(1, 3, 64, 96)))
    assert [tuple(x.shape[2:]) for x in levels] == [(2, 3), (4, 6), (8, 12)][: len(coarse)]
    assert mask_features.shape == (1, MASK_DIM, 16, 24)
    torch.testing.assert_close(decoder.mask_features(finest), mask_features)
    names = {name.split(".")[0] for name, _ in decoder.named_parameters()}
    assert {f"adapter_{i + 1}" for i in range(steps)} == {n for n in names if "adapter" in n}


def test_maps_that_do_not_fit_are_named():
    shapes = Pyramid().output_shape()
    with pytest.raises(ValueError, match=r"the backbone has no \['res6'\]"):
        PixelDecoder(shapes, transformer_features=["res5", "res6"])
    with pytest.raises(ValueError, match=r"\['res2', 'res5'\] must be finer"):
        PixelDecoder(shapes, transformer_features=["res3", "res4"])
