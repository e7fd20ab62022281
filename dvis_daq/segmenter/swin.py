"""Swin Transformer as a backbone (Liu et al., ICCV 2021).

Parameter names are those of the Swin release, which Mask2Former and this field's checkpoints
use. Three details differ from other implementations and decide parity: maps are padded before
they are rolled, padding is not masked as a key, and window and shift keep their sizes on maps
smaller than a window.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torchvision.ops import StochasticDepth

OUTPUTS = ("res2", "res3", "res4", "res5")
FORBIDDEN = -100.0  # added to the logits of keys from another region of a shifted window


class SwinTransformer(Backbone):
    """Four stages of window attention; stage i halves the map and doubles the channels.

    Args:
        embed_dim: channels of the first stage.
        depths, heads: blocks and attention heads of each stage.
        window: side of a window, in tokens; every other block is shifted by half of it.
        patch_size: side of a patch, in pixels; also the stride of the first map.
        mlp_ratio: hidden width of the MLP over its width.
        qkv_bias: whether queries, keys and values have one.
        drop_path: probability of skipping a residual branch, rising from 0 to this over depth.
        recompute: forget the activations of the blocks and compute them again in the backward
            pass (gradient checkpointing).
    """

    def __init__(
        self,
        *,
        embed_dim: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        heads: Sequence[int] = (3, 6, 12, 24),
        window: int = 7,
        patch_size: int = 4,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        drop_path: float = 0.0,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(embed_dim, patch_size)
        rates = torch.linspace(0, drop_path, sum(depths), device="cpu").split(list(depths))
        widths = [embed_dim << stage for stage in range(len(depths))]
        self.layers = nn.ModuleList(
            Stage(
                width,
                heads=heads[i],
                window=window,
                mlp_ratio=mlp_ratio,
                qkv_bias=qkv_bias,
                drop_paths=rates[i].tolist(),
                downsample=i < len(depths) - 1,
                recompute=recompute,
            )
            for i, width in enumerate(widths)
        )
        for i, width in enumerate(widths):
            self.add_module(f"norm{i}", nn.LayerNorm(width))
        self.apply(_initialise)
        self._out_features = list(OUTPUTS[: len(depths)])
        self._out_feature_channels = dict(zip(OUTPUTS, widths, strict=False))
        self._out_feature_strides = {name: patch_size << i for i, name in enumerate(OUTPUTS)}

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(T, 3, H, W) normalised images -> one (T, C_i, H / stride, W / stride) a stage.

        Sizes that are no multiple of the stride are rounded up.
        """
        x = self.patch_embed(images)
        maps = {}
        for i, (name, stage) in enumerate(zip(self._out_features, self.layers, strict=True)):
            refined, x = stage(x)
            # Normalised for the output only; the next stage reads the map as it is.
            maps[name] = self.get_submodule(f"norm{i}")(refined).permute(0, 3, 1, 2).contiguous()
        return maps


class PatchEmbedding(nn.Module):
    """Image patches -> normalised tokens."""

    def __init__(self, dim: int, size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, size, stride=size)
        self.norm = nn.LayerNorm(dim)

    def forward(self, images: Tensor) -> Tensor:
        """(T, 3, H, W) -> (T, h, w, C)."""
        size = self.proj.stride[0]
        bottom, right = (-length % size for length in images.shape[-2:])
        return self.norm(self.proj(F.pad(images, (0, right, 0, bottom))).permute(0, 2, 3, 1))


class Stage(nn.Module):
    """Blocks at one resolution, every second one with shifted windows."""

    def __init__(
        self,
        dim: int,
        *,
        heads: int,
        window: int,
        mlp_ratio: float,
        qkv_bias: bool,
        drop_paths: Sequence[float],
        downsample: bool,
        recompute: bool,
    ) -> None:
        super().__init__()
        self.window, self.shift = window, window // 2
        self.recompute = recompute
        self.blocks = nn.ModuleList(
            Block(
                dim,
                heads=heads,
                window=window,
                shift=self.shift if i % 2 else 0,
                mlp_ratio=mlp_ratio,
                qkv_bias=qkv_bias,
                drop_path=rate,
            )
            for i, rate in enumerate(drop_paths)
        )
        self.downsample = PatchMerging(dim) if downsample else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(T, h, w, C) -> the refined map, and what the next stage reads, (T, h/2, w/2, 2 C)."""
        mask = shifted_mask(x, self.window, self.shift)
        for block in self.blocks:
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(block, x, mask, use_reentrant=False)
            else:
                x = block(x, mask)
        return x, x if self.downsample is None else self.downsample(x)


class Block(nn.Module):
    """Window attention and MLP, pre-norm, each with a residual connection."""

    def __init__(
        self,
        dim: int,
        *,
        heads: int,
        window: int,
        shift: int,
        mlp_ratio: float,
        qkv_bias: bool,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, heads=heads, window=window, qkv_bias=qkv_bias)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(T, h, w, C) -> the same; `mask` as in `shifted_mask`."""
        x = x + self.drop_path(self._attend(self.norm1(x), mask))
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def _attend(self, x: Tensor, mask: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        x = F.pad(x, (0, 0, 0, -width % self.window, 0, -height % self.window))
        padded = x.shape
        if self.shift:
            x = x.roll((-self.shift, -self.shift), dims=(1, 2))
        windows = self.attn(split_windows(x, self.window), mask if self.shift else None)
        x = join_windows(windows, padded, self.window)
        if self.shift:
            x = x.roll((self.shift, self.shift), dims=(1, 2))
        return x[:, :height, :width]


class WindowAttention(nn.Module):
    """Self-attention of the tokens of a window, with a learned bias for each relative place."""

    relative_position_index: Tensor

    def __init__(self, dim: int, *, heads: int, window: int, qkv_bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("relative_position_index", relative_places(window))
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Attends within each window.

        Args:
            x: (T, n, N, C), n windows of N tokens.
            mask: (n, N, N) added to the logits, or None.

        Returns:
            (T, n, N, C).
        """
        tokens = x.shape[2]
        index = self.relative_position_index.flatten()
        bias = self.relative_position_bias_table[index].view(tokens, tokens, -1)
        bias = bias.permute(2, 0, 1)  # (heads, N, N)
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))  # (T, n, N, 3, heads, d)
        q, k, v = qkv.permute(3, 0, 1, 4, 2, 5)  # each (T, n, heads, N, d)
        # Fused kernels take four axes: windows join the batch, or, where each has a mask of its
        # own, the heads.
        axes = (0, 1) if mask is None else (1, 2)
        if mask is not None:
            bias = (bias + mask[:, None]).flatten(0, 1)  # (n heads, N, N)
        q, k, v = (part.flatten(*axes) for part in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None].to(q.dtype))
        out = out.view(*x.shape[:2], self.heads, tokens, -1)
        return self.proj(out.transpose(2, 3).flatten(3))


class Mlp(nn.Module):
    """Linear, exact GELU, linear."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class PatchMerging(nn.Module):
    """2 x 2 neighbours become one token of twice the width."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(T, h, w, C) -> (T, ceil(h / 2), ceil(w / 2), 2 C)."""
        height, width = x.shape[1:3]
        x = F.pad(x, (0, 0, 0, width % 2, 0, height % 2))
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(corners, dim=-1)))


def split_windows(x: Tensor, window: int) -> Tensor:
    """(T, H, W, C), multiples of the window -> (T, n, window^2, C), row-major."""
    x = x.unflatten(2, (-1, window)).unflatten(1, (-1, window))  # (T, rows, w, columns, w, C)
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def join_windows(windows: Tensor, shape: Sequence[int], window: int) -> Tensor:
    """The inverse of `split_windows`; `shape` is (T, H, W, C)."""
    frames, height, width, channels = shape
    grid = (frames, height // window, width // window, window, window, channels)
    return windows.view(grid).transpose(2, 3).reshape(shape)


def shifted_mask(x: Tensor, window: int, shift: int) -> Tensor:
    """Which tokens of a shifted window are no neighbours in the image.

    Args:
        x: (T, h, w, C), before padding.

    Returns:
        (n, N, N): 0 within a region of a window, -100 between regions.
    """

    def regions(length: int) -> Tensor:
        """0 | 1 | 2 for the tokens of an axis: whole windows, before the seam, behind it."""
        place = torch.arange(length + -length % window, device=x.device)
        return (place >= len(place) - window).int() + (place >= len(place) - shift).int()

    rows, columns = (regions(length) for length in x.shape[1:3])
    region = split_windows((3 * rows[:, None] + columns)[None, ..., None], window)[0, ..., 0]
    apart = region[:, :, None] != region[:, None, :]  # (n, N, N)
    return x.new_zeros(apart.shape).masked_fill(apart, FORBIDDEN)


def relative_places(window: int) -> Tensor:
    """(N, N) row of the bias table for a pair of tokens of a window."""
    place = torch.arange(window)
    y, x = (axis.flatten() for axis in torch.meshgrid(place, place, indexing="ij"))
    down = y[:, None] - y + window - 1
    right = x[:, None] - x + window - 1
    return down * (2 * window - 1) + right


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


@BACKBONE_REGISTRY.register()
def D2SwinTransformer(cfg: CfgNode, input_shape: ShapeSpec) -> SwinTransformer:  # noqa: N802
    """`MODEL.BACKBONE.NAME: D2SwinTransformer`, with `MODEL.SWIN.*`."""
    swin = cfg.MODEL.SWIN
    return SwinTransformer(
        embed_dim=swin.EMBED_DIM,
        depths=swin.DEPTHS,
        heads=swin.NUM_HEADS,
        window=swin.WINDOW_SIZE,
        patch_size=swin.PATCH_SIZE,
        mlp_ratio=swin.MLP_RATIO,
        qkv_bias=swin.QKV_BIAS,
        drop_path=swin.DROP_PATH_RATE,
        recompute=swin.USE_CHECKPOINT,
    )
