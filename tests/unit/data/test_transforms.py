"""Clip-consistent augmentation: sizes, agreement of image and mask, determinism."""

import numpy as np
import pytest
import torch
from PIL import Image

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

CROP = Compose([ResizeShortestEdge((40, 50), 133), RandomCrop("absolute_range", (38, 60))])
GEOMETRY = Compose(
    [Sometimes(CROP, 0.5), ResizeShortestEdge((32, 48, 64), 77), Sometimes(HorizontalFlip(), 0.5)]
)
AUGMENTATION = Compose([GEOMETRY, ColorJitter(brightness=0.2, contrast=0.2, saturation=0.1)])


def rng(seed=0):
    return np.random.default_rng(seed)


def draw(transform, size, seed=0):
    return transform.draw(Plan.start(size), rng(seed))


def noise(*shape):
    return torch.from_numpy(rng().integers(0, 256, shape, dtype=np.uint8))


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


def test_an_empty_plan_changes_nothing():
    frame = noise(3, 20, 30)
    plan = Plan.start((20, 30))
    assert torch.equal(plan(frame), frame)
    assert plan.grid().rows.tolist() == list(range(20))
    assert plan.grid().columns.tolist() == list(range(30))


@pytest.mark.parametrize("edge", [17, 40, 75])
def test_images_are_resized_as_pillow_does(edge):
    frame = noise(3, 40, 61)
    plan = draw(ResizeShortestEdge((edge,), 999), (40, 61))
    size = plan.size[::-1]
    pillow = Image.fromarray(frame.permute(1, 2, 0).numpy()).resize(size, Image.Resampling.BILINEAR)
    expected = torch.from_numpy(np.array(pillow)).permute(2, 0, 1)
    assert (plan(frame).int() - expected.int()).abs().max() <= 1


@pytest.mark.parametrize("edge", [17, 40, 64])  # without a tie between two pixels
def test_the_grid_is_pillows_nearest(edge):
    mask = (noise(40, 61).numpy() > 128).astype(np.uint8)
    plan = draw(ResizeShortestEdge((edge,), 999), (40, 61))
    pillow = Image.fromarray(mask).resize(plan.size[::-1], Image.Resampling.NEAREST)
    np.testing.assert_array_equal(mask[np.ix_(*plan.grid())], np.array(pillow))


def test_crops_and_flips_are_those_of_the_pixels():
    frame = noise(3, 20, 30)
    plan = Plan.start((20, 30)).cropped(2, 5, (10, 12))
    assert torch.equal(plan(frame), frame[:, 2:12, 5:17])
    plan = plan.flipped()
    assert torch.equal(plan(frame), frame[:, 2:12, 5:17].flip(-1))
    plan = plan.cropped(1, 3, (4, 4))  # of the mirrored window
    assert torch.equal(plan(frame), frame[:, 2:12, 5:17].flip(-1)[:, 1:5, 3:7])
    assert torch.equal(frame[0][np.ix_(*plan.grid())], plan(frame)[0])
    assert torch.equal(plan.flipped()(frame), plan(frame).flip(-1))


def test_a_crop_between_two_resizes_sees_the_same_window():
    frame = torch.arange(60).repeat(40, 1).expand(3, -1, -1).to(torch.uint8) * 4
    plan = Plan.start((40, 60)).resized((20, 30)).cropped(5, 10, (10, 10)).resized((40, 40))
    left, right = plan(frame)[0, 20, 0].item(), plan(frame)[0, 20, -1].item()
    assert left == pytest.approx(4 * 20, abs=4)  # twice the offset of 10
    assert right == pytest.approx(4 * 39, abs=4)


def test_tiny_windows_keep_a_pixel():
    for top in (0, 9):
        plan = Plan.start((10, 10)).resized((100, 100)).cropped(top * 11, 99, (1, 1))
        assert plan(noise(3, 10, 10)).shape == (3, 1, 1)
        assert plan.grid().columns.tolist() == [9]


def test_all_frames_of_a_clip_are_treated_alike():
    frame = noise(3, 60, 90)
    for seed in range(8):
        plan = draw(AUGMENTATION, (60, 90), seed)
        clip = plan(frame.expand(4, -1, -1, -1))
        assert clip.shape == (4, 3, *plan.size)
        assert clip.dtype == torch.uint8
        for t in range(4):
            assert torch.equal(clip[t], plan(frame))


def test_masks_follow_the_image():
    inside = torch.zeros(60, 90, dtype=torch.uint8)
    inside[20:45, 30:70] = 1
    for seed in range(12):
        plan = draw(GEOMETRY, (60, 90), seed)
        mask = inside[np.ix_(*plan.grid())].bool()
        picture = plan((inside * 255).expand(3, -1, -1))[0] > 127
        assert mask.shape == plan.size
        assert (mask ^ picture).float().mean() < 0.03


def test_color():
    frame = noise(3, 8, 8)
    plan = draw(ColorJitter(0.5, 0.5, 0.5), (8, 8))
    assert len(plan.colors) == 3
    assert not torch.equal(plan(frame), frame)
    assert draw(ColorJitter(), (8, 8)) == Plan.start((8, 8))
    factors = [draw(ColorJitter(brightness=0.3), (8, 8), s).colors[0].args[1] for s in range(50)]
    assert 0.7 <= min(factors) < 0.8
    assert 1.2 < max(factors) <= 1.3


@pytest.mark.parametrize(
    ("kind", "size", "least", "most"),
    [
        ("absolute_range", (10, 20), (10, 10), (20, 20)),
        ("absolute_range", (384, 600), (30, 40), (30, 40)),
        ("absolute", (15, 12), (15, 12), (15, 12)),
        ("relative", (0.5, 0.25), (15, 10), (15, 10)),
        ("relative_range", (0.5, 0.25), (15, 10), (30, 40)),
    ],
)
def test_crop_types(kind, size, least, most):
    sizes = np.array([draw(RandomCrop(kind, size), (30, 40), s).size for s in range(60)])
    assert (sizes >= least).all()
    assert (sizes <= most).all()
    if least != most:
        assert len({tuple(s) for s in sizes.tolist()}) > 10


def test_the_generator_decides_and_no_global_one():
    torch.manual_seed(1)
    np.random.seed(1)
    plan = draw(GEOMETRY, (60, 90), 5)
    torch.manual_seed(2)
    np.random.seed(2)
    assert draw(GEOMETRY, (60, 90), 5) == plan
    assert {draw(GEOMETRY, (60, 90), s).size for s in range(30)} != {plan.size}


def test_sizes_of_a_range():
    resize = ResizeShortestEdge((30, 40), 999, span=True)
    sizes = {draw(resize, (60, 90), s).size[0] for s in range(60)}
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
