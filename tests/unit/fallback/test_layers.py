"""Layers and `ImageList`: contract 4.3 and 4.4, on both sides."""

import pytest
import torch
from detectron2.layers import Conv2d, FrozenBatchNorm2d, ShapeSpec, get_norm
from detectron2.structures import ImageList
from torch import nn


def test_shape_spec() -> None:
    assert ShapeSpec(channels=3, stride=4) == ShapeSpec(3, None, None, 4)
    assert ShapeSpec().channels is None


def test_conv_keeps_its_bias_with_a_norm() -> None:
    conv = Conv2d(3, 4, kernel_size=3, padding=1, norm=get_norm("BN", 4), activation=torch.relu)
    assert {"weight", "bias", "norm.weight", "norm.running_var"} <= set(conv.state_dict())
    assert conv(torch.randn(2, 3, 5, 5)).min() >= 0
    assert Conv2d(3, 4, 1)(torch.zeros(0, 3, 5, 6)).shape == (0, 4, 5, 6)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("BN", nn.BatchNorm2d),
        ("SyncBN", nn.SyncBatchNorm),
        ("FrozenBN", FrozenBatchNorm2d),
        ("nnSyncBN", nn.SyncBatchNorm),
        ("GN", nn.GroupNorm),
    ],
)
def test_norms_by_name(name: str, kind: type) -> None:
    assert type(get_norm(name, 64)) is kind


def test_other_norms() -> None:
    assert get_norm("", 4) is None and get_norm(None, 4) is None
    assert get_norm("GN", 64).num_groups == 32
    assert isinstance(get_norm(nn.InstanceNorm2d, 4), nn.InstanceNorm2d)
    with pytest.raises(KeyError):
        get_norm("nope", 4)


def test_layer_norm_is_over_channels() -> None:
    x = torch.randn(2, 6, 3, 4)
    expected = nn.functional.layer_norm(x.movedim(1, -1), (6,), eps=1e-6).movedim(-1, 1)
    torch.testing.assert_close(get_norm("LN", 6)(x), expected)


def test_frozen_batch_norm() -> None:
    norm = FrozenBatchNorm2d(3)
    assert set(norm.state_dict()) == {"weight", "bias", "running_mean", "running_var"}
    assert torch.equal(norm.running_var, torch.ones(3) - 1e-5)
    assert not list(norm.parameters()) and not isinstance(norm, nn.BatchNorm2d)

    source = nn.BatchNorm2d(3)
    for tensor in source.state_dict().values():
        tensor.copy_(torch.rand_like(tensor, dtype=torch.float32) + 0.5)
    holder = nn.Sequential(source)
    frozen = FrozenBatchNorm2d.convert_frozen_batchnorm(holder)[0]
    x = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(frozen(x), source.eval()(x))
    torch.testing.assert_close(frozen(x.clone().requires_grad_()), frozen(x))


def test_image_list_pads_right_and_bottom() -> None:
    images = [torch.ones(3, 4, 7), torch.ones(3, 5, 6)]
    batch = ImageList.from_tensors(images, size_divisibility=4, pad_value=2.0)
    assert batch.tensor.shape == (2, 3, 8, 8) and len(batch) == 2
    assert batch.image_sizes == [(4, 7), (5, 6)]
    assert torch.equal(batch[1], images[1])
    assert (batch.tensor[0, :, 4:] == 2).all() and (batch.tensor[0, :, :, 7:] == 2).all()
    assert batch.to(torch.float64).tensor.dtype is torch.float64
    assert batch.device == torch.device("cpu")


def test_image_list_without_divisibility_and_of_bool() -> None:
    batch = ImageList.from_tensors([torch.ones(2, 3, dtype=torch.bool), torch.ones(3, 2).bool()])
    assert batch.tensor.shape == (2, 3, 3) and batch.tensor.dtype is torch.bool
    assert not batch.tensor[0, 2].any()


def test_image_list_constraints() -> None:
    constraints = {"size_divisibility": 4, "square_size": 16}
    batch = ImageList.from_tensors([torch.ones(3, 4, 7)], 32, padding_constraints=constraints)
    assert batch.tensor.shape == (1, 3, 16, 16)
    with pytest.raises(RuntimeError):
        ImageList.from_tensors([torch.ones(3, 4, 17)] * 2, padding_constraints=constraints)
