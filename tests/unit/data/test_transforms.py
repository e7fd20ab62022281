"""Clip-consistent augmentation: sizes, agreement of image and mask, determinism."""

import numpy as np
import pytest
import torch
from torchvision.tv_tensors import Image, Mask, Video

from dvis_daq.data.transforms import (
    ColorJitter,
    Compose,
    HorizontalFlip,
    Plan,
    RandomCrop,
    ResizeShortestEdge,
    Sometimes,
    shortest_edge,
)


def rng(seed=0):
    return np.random.default_rng(seed)


AUGMENTATION = Compose(
    [
        Sometimes(
            Compose(
                [ResizeShortestEdge((40, 50, 60), 133), RandomCrop("absolute_range", (38, 60))]
            ),
            0.5,
        ),
        ResizeShortestEdge((32, 48, 64), 77),
        Sometimes(HorizontalFlip(), 0.5),
        ColorJitter(brightness=0.2, contrast=0.2, saturation=0.1),
    ]
)


@pytest.mark.parametrize(
    ("size", "edge", "limit", "expected"),
    [
        ((480, 854), 360, 1333, (360, 641)),  # 640.5 rounds up
        ((1080, 1920), 640, 768, (432, 768)),
        ((1920, 1080), 640, 768, (768, 432)),
        ((100, 100), 37, 1333, (37, 37)),
        ((3, 1000), 10, 100, (1, 100)),
    ],
)
def test_shortest_edge(size, edge, limit, expected):
    assert shortest_edge(size, edge, limit) == expected


def test_all_frames_of_a_clip_are_treated_alike():
    frame = torch.randint(0, 256, (3, 60, 90), dtype=torch.uint8)
    for seed in range(8):
        plan = AUGMENTATION.draw((60, 90), rng(seed))
        clip = plan(Video(frame.expand(4, -1, -1, -1).clone()))
        assert clip.shape == (4, 3, *plan.size)
        assert clip.dtype == torch.uint8
        single = plan(Image(frame))
        for t in range(4):
            assert torch.equal(clip[t], single)


def test_masks_follow_the_image():
    inside = torch.zeros(60, 90, dtype=torch.uint8)
    inside[20:45, 30:70] = 1
    image = (inside * 255).expand(3, -1, -1).clone()
    geometry = Compose(AUGMENTATION.transforms[:3])
    for seed in range(12):
        plan = geometry.draw((60, 90), rng(seed))
        mask = plan(Mask(inside[None]))[0].bool()
        picture = plan(Image(image))[0] > 127
        assert mask.shape == plan.size
        assert (mask ^ picture).float().mean() < 0.03


def test_color_leaves_masks_alone():
    plan = ColorJitter(0.5, 0.5, 0.5).draw((4, 4), rng())
    mask = Mask(torch.ones(1, 4, 4, dtype=torch.uint8))
    assert torch.equal(plan(mask), mask)
    image = Image(torch.randint(0, 256, (3, 4, 4), dtype=torch.uint8))
    assert not torch.equal(plan(image), image)
    assert ColorJitter().draw((4, 4), rng()) == Plan((), (4, 4))


def test_crop_types():
    for kind, size in (
        ("absolute_range", (10, 20)),
        ("absolute", (15, 12)),
        ("relative", (0.5, 0.25)),
        ("relative_range", (0.5, 0.25)),
    ):
        for seed in range(20):
            height, width = RandomCrop(kind, size).draw((30, 40), rng(seed)).size
            if kind == "absolute_range":
                assert 10 <= height <= 20
                assert 10 <= width <= 20
            elif kind == "relative_range":
                assert 15 <= height <= 30
                assert 10 <= width <= 40
            else:
                assert (height, width) == ((15, 12) if kind == "absolute" else (15, 10))
    assert RandomCrop("absolute_range", (384, 600)).draw((30, 40), rng()).size == (30, 40)


def test_the_generator_decides_and_no_global_one():
    torch.manual_seed(1)
    np.random.seed(1)
    plan = AUGMENTATION.draw((60, 90), rng(5))
    torch.manual_seed(2)
    np.random.seed(2)
    assert AUGMENTATION.draw((60, 90), rng(5)) == plan
    assert {AUGMENTATION.draw((60, 90), rng(s)).size for s in range(30)} != {plan.size}


def test_sizes_of_a_range():
    sizes = {
        ResizeShortestEdge((30, 40), 999, span=True).draw((60, 90), rng(s)).size[0]
        for s in range(60)
    }
    assert min(sizes) == 30
    assert max(sizes) == 40
    assert len(sizes) > 8


@pytest.mark.parametrize(
    "make",
    [
        lambda: ResizeShortestEdge((), 10),
        lambda: ResizeShortestEdge((0,), 10),
        lambda: ResizeShortestEdge((1, 2, 3), 10, span=True),
        lambda: RandomCrop("wide", (1, 1)),
        lambda: ColorJitter(brightness=1.5),
    ],
)
def test_bad_settings(make):
    with pytest.raises(ValueError):
        make()
