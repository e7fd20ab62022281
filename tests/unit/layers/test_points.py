import pytest
import torch

from dvis_daq.layers import sample_points, uncertain_points


def test_pixel_centres_read_the_pixels():
    maps = torch.randn(2, 3, 5)
    y, x = torch.meshgrid(torch.arange(3), torch.arange(5), indexing="ij")
    points = torch.stack([(x + 0.5) / 5, (y + 0.5) / 3], dim=-1).flatten(0, 1)
    torch.testing.assert_close(sample_points(maps, points[None]), maps.flatten(1))
    torch.testing.assert_close(sample_points(maps, points.expand(2, -1, -1)), maps.flatten(1))


def test_shared_points_equal_repeated_ones():
    maps, points = torch.randn(4, 6, 7), torch.rand(1, 50, 2)
    own = sample_points(maps, points.expand(4, -1, -1))
    torch.testing.assert_close(sample_points(maps, points), own)


def test_outside_is_zero_and_the_border_fades():
    maps = torch.ones(1, 4, 4)
    points = torch.tensor([[[0.0, 0.5], [-0.5, 0.5], [0.5, 0.5]]])
    torch.testing.assert_close(sample_points(maps, points), torch.tensor([[0.5, 0.0, 1.0]]))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float16, torch.float64])
def test_the_wider_type_wins(dtype):
    maps = torch.eye(4)[None].to(dtype)
    sampled = sample_points(maps, torch.tensor([[[0.125, 0.125], [0.25, 0.25]]]))
    assert sampled.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(sampled.float(), torch.tensor([[1.0, 0.5]]))


def test_points_must_fit_the_maps():
    with pytest.raises(ValueError, match=r"points \(3, 5, 2\) do not fit maps \(2, 4, 4\)"):
        sample_points(torch.zeros(2, 4, 4), torch.zeros(3, 5, 2))


def test_uncertain_points_gather_at_the_boundary():
    logits = torch.linspace(-8, 8, 64).expand(2, 64, 64).contiguous()  # changes sign at x = 0.5
    points = uncertain_points(logits, 400, generator=torch.Generator().manual_seed(0))
    assert points.shape == (2, 400, 2) and points.min() >= 0 and points.max() < 1
    distance = (points[..., 0] - 0.5).abs()
    # 300 of 1200 candidates, hence those within an eighth of the map (and a few on its border,
    # where samples fade to zero); then 100 uniform ones.
    assert (distance[:, :300] < 0.16).float().mean() > 0.95
    assert 0.2 < distance[:, 300:].mean() < 0.3


def test_points_are_repeatable_and_differ_between_masks():
    logits = torch.randn(3, 8, 8)
    first, second = (
        uncertain_points(logits, 20, generator=torch.Generator().manual_seed(1)) for _ in range(2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first[0], first[1])


def test_no_masks_have_no_points():
    assert uncertain_points(torch.zeros(0, 8, 8), 20).shape == (0, 20, 2)
    assert sample_points(torch.zeros(0, 8, 8), torch.rand(1, 20, 2)).shape == (0, 20)


def test_no_gradient_flows_through_the_choice():
    logits = torch.randn(2, 8, 8, requires_grad=True)
    assert not uncertain_points(logits, 20).requires_grad


@pytest.mark.parametrize("ratios", [(0.5, 0.75), (3.0, 1.5)])
def test_ratios_out_of_range(ratios):
    oversample, importance = ratios
    with pytest.raises(ValueError, match="must be"):
        uncertain_points(
            torch.zeros(1, 4, 4), 8, oversample_ratio=oversample, importance_ratio=importance
        )
