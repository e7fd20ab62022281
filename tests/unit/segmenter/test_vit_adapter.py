"""The adapter around a small DINOv2."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dvis_daq.config import get_config
from dvis_daq.segmenter.dinov2 import VisionTransformer
from dvis_daq.segmenter.vit_adapter import D2VitAdapterDinoV2, DepthwiseConvolution, ViTAdapter

DIM = 16


def _adapter(*, freeze_vit: bool = True) -> ViTAdapter:
    vit = VisionTransformer(DIM, depth=8, heads=2, grid=5)
    return ViTAdapter(vit, heads=2, stem_width=4, freeze_vit=freeze_vit)


@pytest.fixture
def adapter() -> ViTAdapter:
    return _adapter()


@pytest.mark.parametrize("size", [(64, 96), (32, 32), (160, 64)])
@torch.no_grad()
def test_maps_have_the_announced_shapes(adapter: ViTAdapter, size: tuple[int, int]) -> None:
    maps = adapter.eval()(torch.randn(2, 3, *size))
    for name, shape in adapter.output_shape().items():
        assert maps[name].shape == (2, DIM, size[0] // shape.stride, size[1] // shape.stride)


def test_size_that_has_no_stride_32_is_refused(adapter: ViTAdapter) -> None:
    with pytest.raises(ValueError, match=r"multiple of 32 pixels, not \(48, 64\)"):
        adapter(torch.randn(1, 3, 48, 64))


def test_groups_must_be_equal() -> None:
    vit = VisionTransformer(DIM, depth=6, heads=2)
    with pytest.raises(ValueError, match="6 blocks has no 4 equal groups"):
        ViTAdapter(vit, heads=2)


def test_frozen_vit_learns_nothing_and_everything_else_learns(adapter: ViTAdapter) -> None:
    adapter.train()
    assert not adapter.vit_module.training and adapter.spm.training
    _backward(adapter)
    for name, parameter in adapter.named_parameters():
        learns = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        # Attention starts uniform, so its queries get no gradient yet; nor does what batch norm
        # takes away.
        if any(part in name for part in ("attention_weights", "sampling_offsets", "query_norm")):
            continue
        if name.endswith("bias"):
            continue
        assert learns != name.startswith("vit_module."), name


def test_free_vit_learns_except_what_no_map_reads() -> None:
    adapter = _adapter(freeze_vit=False).train()
    _backward(adapter)
    still = {name for name, p in adapter.vit_module.named_parameters() if p.grad is None}
    assert still == {"mask_token", "norm.weight", "norm.bias"}
    assert not any(p.requires_grad for n, p in adapter.vit_module.named_parameters() if n in still)


def _backward(adapter: ViTAdapter) -> None:
    maps = adapter(torch.randn(2, 3, 64, 96))
    weights = (torch.randn_like(image) for image in maps.values())
    sum((image * w).sum() for image, w in zip(maps.values(), weights, strict=True)).backward()


@torch.no_grad()
def test_frames_do_not_see_each_other(adapter: ViTAdapter) -> None:
    images = torch.randn(2, 3, 64, 96)
    together, alone = adapter.eval()(images), adapter(images[1:])
    for name, image in alone.items():
        torch.testing.assert_close(together[name][1:], image, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_filters_see_one_map_at_a_time() -> None:
    filters = DepthwiseConvolution(DIM)
    sizes = [(8, 12), (4, 6), (2, 3)]
    maps = [torch.randn(2, DIM, *size) for size in sizes]
    tokens = torch.cat([image.flatten(2).transpose(1, 2) for image in maps], dim=1)
    out = filters(tokens, sizes).transpose(1, 2).split([h * w for h, w in sizes], dim=-1)
    for image, piece in zip(maps, out, strict=True):
        torch.testing.assert_close(piece.unflatten(-1, image.shape[-2:]), filters.dwconv(image))


@torch.no_grad()
def test_positions_are_resized_by_dinos_factor() -> None:
    vit = VisionTransformer(DIM, depth=1, heads=2, grid=5)
    assert vit.positions(5, 5) is vit.pos_embed
    out = vit.positions(4, 7)
    assert out.shape == (1, 29, DIM)
    assert torch.equal(out[:, 0], vit.pos_embed[:, 0])
    # Place i of 7 reads at (i + 0.5) 5 / 7.1 - 0.5, so not symmetrically.
    y, x = ((torch.arange(n) + 0.5) / (n + 0.1) * 2 - 1 for n in (4, 7))
    places = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[None]
    table = vit.pos_embed[:, 1:].unflatten(1, (5, 5)).permute(0, 3, 1, 2)
    read = F.grid_sample(table, places, "bicubic", padding_mode="border", align_corners=False)
    torch.testing.assert_close(out[:, 1:], read.flatten(2).transpose(1, 2))


@torch.no_grad()
def test_batch_norm_is_plain_without_other_processes(adapter: ViTAdapter) -> None:
    norm = adapter.norm1.train()
    assert isinstance(norm, nn.SyncBatchNorm)
    x = torch.randn(2, DIM, 4, 6)
    torch.testing.assert_close(norm(x), F.batch_norm(x, None, None, training=True))


@pytest.mark.parametrize(("name", "width"), [("vits", 384), ("vitb", 768), ("vitl", 1024)])
def test_sizes_by_name(name: str, width: int) -> None:
    with torch.device("meta"):
        adapter = D2VitAdapterDinoV2(get_config(opts=["MODEL.VIT_ADAPTER.NAME", name]), None)
    assert {shape.channels for shape in adapter.output_shape().values()} == {width}


def test_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="'vith'; choose one of vitt, vits, vitb, vitl"):
        D2VitAdapterDinoV2(get_config(opts=["MODEL.VIT_ADAPTER.NAME", "vith"]), None)
