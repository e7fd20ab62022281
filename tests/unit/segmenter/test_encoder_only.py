"""The encoder-only segmenter: same outputs as the other one, learns, drives the trackers."""

import pytest
import torch

from dvis_daq.segmenter.dinov2 import VisionTransformer
from dvis_daq.segmenter.encoder_only import (
    EncoderHead,
    EncoderPredictor,
    EncoderSegmenter,
    Upscaling,
)
from dvis_daq.structures import ClipTargets
from dvis_daq.tracker.daq import DAQTracker
from dvis_daq.tracker.state import advance
from dvis_daq.training.objectives import Clip, FrameObjective
from dvis_daq.training.points import PointSampler

DIM, MASK_DIM, QUERIES, CLASSES, BLOCKS = 16, 8, 6, 3, 2


def _segmenter(**options) -> EncoderSegmenter:
    vit = VisionTransformer(DIM, depth=3, heads=2, grid=4)
    predictor = EncoderPredictor(DIM, mask_dim=MASK_DIM, num_queries=QUERIES, num_classes=CLASSES)
    return EncoderSegmenter(
        backbone=vit,
        sem_seg_head=EncoderHead(pixel_decoder=Upscaling(DIM, MASK_DIM), predictor=predictor),
        pixel_mean=(100.0, 110.0, 120.0),
        pixel_std=(50.0, 55.0, 60.0),
        **{"query_blocks": BLOCKS, **options},
    )


@pytest.fixture
def segmenter() -> EncoderSegmenter:
    return _segmenter()


def _frames() -> torch.Tensor:
    """A bright square on noise, moving to the right; (3, 3, 60, 64)."""
    images = torch.randint(0, 80, (3, 3, 60, 64), dtype=torch.uint8)
    for t in range(3):
        images[t, :, 16:40, 8 + 8 * t : 32 + 8 * t] = 240
    return images


def _targets() -> ClipTargets:
    masks = torch.zeros(1, 3, 60, 64, dtype=torch.bool)
    for t in range(3):
        masks[0, t, 16:40, 8 + 8 * t : 32 + 8 * t] = True
    return ClipTargets(labels=torch.tensor([1]), masks=masks, ids=torch.tensor([0]))


@torch.no_grad()
def test_outputs_have_the_common_shapes(segmenter: EncoderSegmenter) -> None:
    images = _frames()
    frames = segmenter.eval()(images)
    assert (
        frames.embeds.shape == (3, QUERIES, DIM) == (3, segmenter.num_queries, segmenter.hidden_dim)
    )
    assert frames.logits.shape == (3, QUERIES, CLASSES + 1)
    assert frames.masks.shape == (3, QUERIES, 16, 16)  # stride 4 of 64 x 64
    assert frames.mask_features.shape == (3, MASK_DIM, 16, 16) and segmenter.mask_dim == MASK_DIM
    assert frames.deep_logits is None
    torch.testing.assert_close(segmenter.mask_features(images), frames.mask_features)


@torch.no_grad()
def test_frames_do_not_see_each_other(segmenter: EncoderSegmenter) -> None:
    images = _frames()
    together, alone = segmenter.eval()(images), segmenter(images[1:2])
    torch.testing.assert_close(together.masks[1:2], alone.masks, rtol=1e-4, atol=1e-4)


def test_training_predicts_every_block(segmenter: EncoderSegmenter) -> None:
    frames = segmenter.train()(_frames())
    assert frames.deep_logits.shape == (BLOCKS + 1, 3, QUERIES, CLASSES + 1)
    assert torch.equal(frames.deep_masks[-1], frames.masks)


def test_it_learns(segmenter: EncoderSegmenter) -> None:
    model = torch.nn.Module()
    model.segmenter = segmenter.train()
    objective = FrameObjective(points=PointSampler(num_points=128))
    optimizer = torch.optim.AdamW(segmenter.parameters(), lr=3e-3)
    clip, losses = Clip(_frames(), _targets()), []
    for iteration in range(30):
        total = sum(objective(model, [clip], iteration).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(total.item())
    assert losses[-1] < 0.5 * losses[0]
    still = {name for name, parameter in segmenter.named_parameters() if parameter.grad is None}
    assert still == {"backbone.mask_token"}


@torch.no_grad()
def test_it_drives_the_tracker(segmenter: EncoderSegmenter) -> None:
    tracker = DAQTracker(
        hidden_dim=segmenter.hidden_dim, mask_dim=segmenter.mask_dim,
        num_classes=segmenter.num_classes, layers=1, heads=2, feedforward_dim=32,
    ).eval()  # fmt: skip
    state = tracker.start()
    for frame in segmenter.eval()(_frames()):
        step = tracker.step(state, frame)
        seen = torch.arange(len(step.queries)) < 4
        state, _ = advance(state, step, seen, 2)
    assert len(state) == 4 and step.tracked.masks.shape[-2:] == (16, 16)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"query_blocks": 4}, "last 4 of 3 blocks"), ({"size_divisibility": 24}, "patches of 16")],
)
def test_what_cannot_be_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _segmenter(**options)
