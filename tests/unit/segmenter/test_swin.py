"""Swin against torchvision's window attention and against literal loops."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.swin_transformer import shifted_window_attention

from dvis_daq.segmenter.swin import (
    PatchMerging,
    Stage,
    SwinTransformer,
    join_windows,
    shifted_mask,
    split_windows,
)

DIM, HEADS, WINDOW = 8, 2, 4


@pytest.fixture
def stage() -> Stage:
    made = Stage(DIM, heads=HEADS, window=WINDOW, mlp_ratio=2.0, qkv_bias=True,
                 drop_paths=[0.0, 0.0], downsample=True, recompute=False)  # fmt: skip
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made.double().eval()


def _attend(block, x: Tensor) -> Tensor:
    mask = shifted_mask(x, block.window, block.shift)
    return block._attend(x, mask)


@pytest.mark.parametrize("size", [(8, 12), (7, 9), (5, 6), (12, 5)])
@pytest.mark.parametrize("shifted", [False, True])
def test_attention_equals_torchvision(stage: Stage, size: tuple[int, int], shifted: bool) -> None:
    block = stage.blocks[int(shifted)]
    x = torch.randn(2, *size, DIM, dtype=torch.float64)
    attn = block.attn
    bias = attn.relative_position_bias_table[attn.relative_position_index.flatten()]
    expected = shifted_window_attention(
        x,
        attn.qkv.weight,
        attn.proj.weight,
        bias.view(WINDOW**2, WINDOW**2, HEADS).permute(2, 0, 1)[None],
        [WINDOW, WINDOW],
        HEADS,
        [block.shift, block.shift],
        qkv_bias=attn.qkv.bias,
        proj_bias=attn.proj.bias,
        training=False,
    )
    torch.testing.assert_close(_attend(block, x), expected)


@pytest.mark.parametrize("size", [(3, 4), (4, 4), (2, 9)])
def test_map_of_one_window_is_cut_like_a_larger_one(stage: Stage, size: tuple[int, int]) -> None:
    """torchvision does not shift such maps; the released Swin does. Token by token:"""
    block = stage.blocks[1]
    attn = block.attn
    x = torch.randn(1, *size, DIM, dtype=torch.float64)
    rows, columns = (length + -length % WINDOW for length in size)
    padded = F.pad(x, (0, 0, 0, columns - size[1], 0, rows - size[0]))[0]
    table = attn.relative_position_bias_table.view(2 * WINDOW - 1, 2 * WINDOW - 1, HEADS)

    def place(r: int, c: int) -> tuple[int, int]:  # where a token stands in the rolled map
        return (r - block.shift) % rows, (c - block.shift) % columns

    def region(r: int, c: int) -> tuple[int, int, bool, bool]:  # window, and side of the seam
        a, b = place(r, c)
        return a // WINDOW, b // WINDOW, a >= rows - block.shift, b >= columns - block.shift

    tokens = [(r, c) for r in range(rows) for c in range(columns)]
    out = torch.zeros_like(padded)
    for r, c in tokens:
        # The other side of a seam has weight exp(-100), which no float64 sum notices.
        seen = [other for other in tokens if region(*other) == region(r, c)]
        q = attn.qkv(padded[r, c]).view(3, HEADS, -1)[0]
        k, v = (
            torch.stack([attn.qkv(padded[other]).view(3, HEADS, -1)[part] for other in seen])
            for part in (1, 2)
        )
        logits = (k * q).sum(-1) / (DIM // HEADS) ** 0.5
        here = place(r, c)
        for row, other in enumerate(seen):
            there = place(*other)
            logits[row] += table[here[0] - there[0] + WINDOW - 1, here[1] - there[1] + WINDOW - 1]
        weights = logits.softmax(0)  # (seen, heads)
        out[r, c] = attn.proj((weights[..., None] * v).sum(0).flatten())
    torch.testing.assert_close(_attend(block, x)[0], out[: size[0], : size[1]])


@pytest.mark.parametrize("size", [(5, 7), (8, 8), (9, 2)])
def test_padding_is_the_padded_computation(stage: Stage, size: tuple[int, int]) -> None:
    x = torch.randn(1, *size, DIM, dtype=torch.float64)
    bottom, right = (-length % WINDOW for length in size)
    padded = F.pad(x, (0, 0, 0, right, 0, bottom))
    for block in stage.blocks:
        cut = _attend(block, padded)[:, : size[0], : size[1]]
        torch.testing.assert_close(_attend(block, x), cut)


def test_windows_are_joined_as_they_were_split() -> None:
    x = torch.arange(2 * 8 * 12 * 3.0).view(2, 8, 12, 3)
    windows = split_windows(x, 4)
    assert windows.shape == (2, 6, 16, 3)
    assert torch.equal(windows[1, 4].view(4, 4, 3), x[1, 4:8, 4:8])
    assert torch.equal(join_windows(windows, x.shape, 4), x)


def test_merging_reads_the_four_neighbours_in_order() -> None:
    merging = PatchMerging(1)
    merging.norm = torch.nn.Identity()
    merging.reduction = torch.nn.Identity()
    out = merging(torch.arange(1.0, 10).view(1, 3, 3, 1))
    assert out.shape == (1, 2, 2, 4)
    assert out[0, 0, 0].tolist() == [1, 4, 2, 5]  # (row, column) (0,0), (1,0), (0,1), (1,1)
    assert out[0, 1, 1].tolist() == [9, 0, 0, 0]


@pytest.fixture
def swin() -> SwinTransformer:
    return SwinTransformer(
        embed_dim=8, depths=(2, 2, 2, 2), heads=(1, 2, 2, 4), window=3, drop_path=0.5
    )


@pytest.mark.parametrize(("height", "width"), [(64, 96), (33, 70)])
@torch.no_grad()
def test_maps_have_the_announced_shapes(swin: SwinTransformer, height: int, width: int) -> None:
    maps = swin.eval()(torch.randn(2, 3, height, width))
    for name, shape in swin.output_shape().items():
        h, w = (-(-length // shape.stride) for length in (height, width))
        assert maps[name].shape == (2, shape.channels, h, w)
    assert [shape.channels for shape in swin.output_shape().values()] == [8, 16, 32, 64]


def test_recomputed_activations_give_the_same_gradients(swin: SwinTransformer) -> None:
    images = torch.randn(1, 3, 48, 32)
    gradients = []
    for recompute in (False, True):
        swin.zero_grad()
        for stage in swin.layers:
            stage.recompute = recompute
        torch.manual_seed(3)  # branches are dropped at random
        sum(image.square().mean() for image in swin.train()(images).values()).backward()
        gradients.append([parameter.grad.clone() for parameter in swin.parameters()])
    for straight, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(straight, recomputed)
    assert all(gradients[0][0].flatten())  # down to the patch embedding


def test_half_precision_stays_close(swin: SwinTransformer) -> None:
    images = torch.randn(1, 3, 48, 32)
    swin.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rough = swin(images)
    exact = swin(images)
    for name, image in exact.items():
        assert (rough[name] - image).abs().max() < 0.2
