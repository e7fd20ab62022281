"""The Vision Transformer of DINOv2 (Oquab et al., 2023), as far as a backbone needs it.

Parameter names are DINOv2's. The adapter runs it with patches of 16 pixels, so the pretrained
patch kernel is resized (`dvis_daq.checkpoint.backbones`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PATCH = 16  # pixels
GRID = 37  # patches a side for which there are position vectors
SIZES = {  # width, blocks, heads; DINOv2 has no tiny one, which is for trials
    "vitt": (192, 12, 3),
    "vits": (384, 12, 6),
    "vitb": (768, 12, 12),
    "vitl": (1024, 24, 16),
}


def build_vit(name: str) -> VisionTransformer:
    """The transformer of one of `SIZES`, a value of `MODEL.VIT_ADAPTER.NAME`.

    Raises:
        ValueError: it is none of them.
    """
    if name not in SIZES:
        raise ValueError(f"MODEL.VIT_ADAPTER.NAME is {name!r}; choose one of {', '.join(SIZES)}")
    dim, depth, heads = SIZES[name]
    return VisionTransformer(dim, depth=depth, heads=heads)


class VisionTransformer(nn.Module):
    """Patch and class tokens through pre-norm blocks with a learned scale on each branch.

    Args:
        dim: C, width of the tokens.
        depth: blocks.
        heads: of the attention.
        patch: side of a patch, in pixels.
        grid: positions a side that the position embedding knows.
    """

    def __init__(
        self, dim: int, *, depth: int, heads: int, patch: int = PATCH, grid: int = GRID
    ) -> None:
        super().__init__()
        self.grid, self.heads = grid, heads
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, grid * grid + 1, dim))
        self.patch_embed = PatchEmbedding(dim, patch)
        self.blocks = nn.ModuleList(Block(dim, heads=heads) for _ in range(depth))
        # Two parts that a backbone does not use; they are in every checkpoint.
        self.mask_token = nn.Parameter(torch.zeros(1, dim), requires_grad=False)
        self.norm = nn.LayerNorm(dim, eps=1e-6).requires_grad_(False)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.normal_(self.cls_token, std=1e-6)
        self.apply(_initialise)

    def embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Tokens before the first block.

        Args:
            images: (T, 3, H, W) normalised.

        Returns:
            (T, 1 + h w, C), the class token first, and (h, w), patches a column and a row.
        """
        patches = self.patch_embed.proj(images)  # (T, C, h, w)
        height, width = map(int, patches.shape[-2:])  # sizes are tensors while a model is traced
        tokens = patches.flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        return tokens + self.positions(height, width), (height, width)

    def positions(self, height: int, width: int) -> Tensor:
        """(1, 1 + h w, C) position vectors of a grid; that of the class token stays as it is."""
        if (height, width) == (self.grid, self.grid):
            return self.pos_embed
        first, rest = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        table = rest.unflatten(1, (self.grid, self.grid)).permute(0, 3, 1, 2)
        # DINO adds 0.1 against rounding, and the pretrained weights know no other coordinates.
        factors = [(length + 0.1) / self.grid for length in (height, width)]
        resized = F.interpolate(table, scale_factor=factors, mode="bicubic", align_corners=False)
        return torch.cat([first, resized.flatten(2).transpose(1, 2)], dim=1)


class PatchEmbedding(nn.Module):
    """Holds the projection of patches under its released name."""

    def __init__(self, dim: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, stride=patch)


class Block(nn.Module):
    """Self-attention and MLP, pre-norm, each scaled and added."""

    def __init__(self, dim: int, *, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads=heads)
        self.ls1 = LayerScale(dim)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, 4 * dim)
        self.ls2 = LayerScale(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(T, S, C) -> (T, S, C)."""
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class Attention(nn.Module):
    """Self-attention with one projection for queries, keys and values."""

    def __init__(self, dim: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))  # (T, S, 3, heads, d)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (T, heads, S, d)
        out = F.scaled_dot_product_attention(q, k, v)
        return self.proj(out.transpose(1, 2).flatten(2))


class LayerScale(nn.Module):
    """A learned factor a channel."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Mlp(nn.Module):
    """Linear, exact GELU, linear."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
