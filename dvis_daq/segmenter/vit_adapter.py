"""ViT-Adapter around a frozen DINOv2 (Chen et al., ICLR 2023), as the field's ViT-L uses it.

A convolutional pyramid gives the fine maps that a plain ViT lacks; extractors let it read the
ViT's tokens between groups of blocks. Unlike in the paper of the adapter nothing is injected
into the ViT, which can therefore stay frozen and run without gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor, nn
from torch.nn import functional as F

from dvis_daq.layers import MSDeformableAttention, pixel_centres
from dvis_daq.segmenter.dinov2 import PATCH, VisionTransformer, build_vit

STRIDES = {"res2": 4, "res3": 8, "res4": 16, "res5": 32}
STEPS = 4  # groups of ViT blocks, each followed by an extractor
EXTRA_EXTRACTORS = 2  # after the last group
EPS = 1e-6  # of the layer norms

Size = tuple[int, int]  # (h, w)


class ViTAdapter(Backbone):
    """Maps of strides 4 to 32 from a ViT of stride 16.

    Args:
        vit: the transformer; its depth is a multiple of four.
        heads: of the extractors' deformable attention.
        freeze_vit: run the ViT in evaluation mode and without gradient.
        stem_width: channels of the first convolutions.

    Raises:
        ValueError: the blocks cannot be split into four groups.
    """

    def __init__(
        self, vit: VisionTransformer, *, heads: int, freeze_vit: bool = True, stem_width: int = 64
    ) -> None:
        super().__init__()
        if len(vit.blocks) % STEPS:
            raise ValueError(f"a ViT of {len(vit.blocks)} blocks has no {STEPS} equal groups")
        dim = vit.pos_embed.shape[-1]
        self.freeze_vit = freeze_vit
        self.level_embed = nn.Parameter(torch.zeros(3, dim))
        self.spm = SpatialPrior(dim, stem_width)
        extra = [0] * (STEPS - 1) + [EXTRA_EXTRACTORS]
        self.interactions = nn.ModuleList(
            Interaction(dim, heads=heads, extra=count) for count in extra
        )
        self.up = nn.ConvTranspose2d(dim, dim, 2, stride=2)
        for level in range(1, 5):
            self.add_module(f"norm{level}", nn.SyncBatchNorm(dim))
        nn.init.normal_(self.level_embed)
        self.vit_module = vit.requires_grad_(False) if freeze_vit else vit
        self._out_features = list(STRIDES)
        self._out_feature_channels = dict.fromkeys(STRIDES, dim)
        self._out_feature_strides = dict(STRIDES)

    @property
    def size_divisibility(self) -> int:
        return 2 * PATCH

    def train(self, mode: bool = True) -> ViTAdapter:
        """A frozen ViT stays in evaluation mode."""
        super().train(mode)
        if self.freeze_vit:
            self.vit_module.eval()
        return self

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(T, 3, H, W) normalised images -> one (T, C, H / stride, W / stride) a level.

        Raises:
            ValueError: H or W is no multiple of 32.
        """
        size = images.shape[-2:]
        if any(length % self.size_divisibility for length in size):
            raise ValueError(
                f"the ViT adapter reads images of a multiple of {self.size_divisibility} pixels, "
                f"not {tuple(size)}; set MODEL.MASK_FORMER.SIZE_DIVISIBILITY to that"
            )
        fine, *coarse = self.spm(images)
        sizes = [tuple(image.shape[-2:]) for image in coarse]
        levels = zip(coarse, self.level_embed, strict=True)
        tokens = torch.cat([_tokens(image) + level for image, level in levels], dim=1)
        tokens, seen = self._interact(tokens, sizes, images)
        pieces = tokens.split([h * w for h, w in sizes], dim=1)
        coarse = [_image(piece, size) for piece, size in zip(pieces, sizes, strict=True)]
        maps = [fine + self.up(coarse[0]), *coarse]
        named = {}
        for level, (name, image) in enumerate(zip(STRIDES, maps, strict=True)):
            # The ViT's tokens after each group, finest map first, resized from stride 16.
            image = image + F.interpolate(
                seen[level], image.shape[-2:], mode="bilinear", align_corners=False
            )
            named[name] = self.get_submodule(f"norm{level + 1}")(image)
        return named

    def _interact(
        self, tokens: Tensor, sizes: Sequence[Size], images: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """The pyramid's tokens after all extractors, and the ViT's map after each group."""
        with self._gradient():
            x, grid = self.vit_module.embed(images)
        places = pixel_centres(sizes, like=tokens)
        blocks, seen = self.vit_module.blocks, []
        group = len(blocks) // STEPS
        for step, interaction in enumerate(self.interactions):
            with self._gradient():
                for block in blocks[step * group : (step + 1) * group]:
                    x = block(x)
            patches = x[:, 1:]
            tokens = interaction(tokens, places, sizes, patches, grid)
            seen.append(_image(patches, grid))
        return tokens, seen

    def _gradient(self) -> AbstractContextManager[None]:
        return torch.no_grad() if self.freeze_vit else nullcontext()


class SpatialPrior(nn.Module):
    """Convolutional maps of strides 4, 8, 16 and 32, all as wide as the ViT."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            *_convolution(3, width, stride=2),
            *_convolution(width, width, stride=1),
            *_convolution(width, width, stride=1),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.conv2 = nn.Sequential(*_convolution(width, 2 * width, stride=2))
        self.conv3 = nn.Sequential(*_convolution(2 * width, 4 * width, stride=2))
        self.conv4 = nn.Sequential(*_convolution(4 * width, 4 * width, stride=2))
        self.fc1 = nn.Conv2d(width, dim, 1)
        self.fc2 = nn.Conv2d(2 * width, dim, 1)
        self.fc3 = nn.Conv2d(4 * width, dim, 1)
        self.fc4 = nn.Conv2d(4 * width, dim, 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(T, 3, H, W) -> four maps (T, C, h, w), finest first."""
        c1 = self.stem(images)
        c2 = self.conv2(c1)
        c3 = self.conv3(c2)
        c4 = self.conv4(c3)
        return [self.fc1(c1), self.fc2(c2), self.fc3(c3), self.fc4(c4)]


class Interaction(nn.Module):
    """The extractors after one group of ViT blocks."""

    def __init__(self, dim: int, *, heads: int, extra: int) -> None:
        super().__init__()
        self.extractor = Extractor(dim, heads=heads)
        if extra:
            self.extra_extractors = nn.ModuleList(Extractor(dim, heads=heads) for _ in range(extra))

    def forward(
        self, tokens: Tensor, places: Tensor, sizes: Sequence[Size], patches: Tensor, grid: Size
    ) -> Tensor:
        """Arguments as `Extractor.forward`."""
        for extractor in (self.extractor, *getattr(self, "extra_extractors", ())):
            tokens = extractor(tokens, places, sizes, patches, grid)
        return tokens


class Extractor(nn.Module):
    """The pyramid reads the ViT: deformable attention, then a feed-forward block."""

    def __init__(self, dim: int, *, heads: int, points: int = 4) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(dim, eps=EPS)
        self.feat_norm = nn.LayerNorm(dim, eps=EPS)
        self.attn = MSDeformableAttention(dim, heads=heads, levels=1, points=points)
        self.ffn_norm = nn.LayerNorm(dim, eps=EPS)
        self.ffn = ConvFeedForward(dim, dim // 4)

    def forward(
        self, tokens: Tensor, places: Tensor, sizes: Sequence[Size], patches: Tensor, grid: Size
    ) -> Tensor:
        """One reading.

        Args:
            tokens: (T, S, C) of the pyramid's three maps, one after the other.
            places: (S, 2) their pixel centres (x, y) in 0..1.
            sizes: (h, w) of the three maps.
            patches: (T, h w, C) tokens of the ViT.
            grid: (h, w) of the ViT.

        Returns:
            (T, S, C).
        """
        read = self.attn(self.query_norm(tokens), places, self.feat_norm(patches), [grid])
        tokens = tokens + read
        return tokens + self.ffn(self.ffn_norm(tokens), sizes)


class ConvFeedForward(nn.Module):
    """A feed-forward block whose hidden layer also sees its neighbours in the map."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.dwconv = DepthwiseConvolution(hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, tokens: Tensor, sizes: Sequence[Size]) -> Tensor:
        return self.fc2(F.gelu(self.dwconv(self.fc1(tokens), sizes)))


class DepthwiseConvolution(nn.Module):
    """The same 3x3 filters, one a channel, on each of several maps."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, tokens: Tensor, sizes: Sequence[Size]) -> Tensor:
        pieces = tokens.split([h * w for h, w in sizes], dim=1)
        maps = (_image(piece, size) for piece, size in zip(pieces, sizes, strict=True))
        return torch.cat([_tokens(self.dwconv(image)) for image in maps], dim=1)


def _tokens(image: Tensor) -> Tensor:
    """(T, C, h, w) -> (T, h w, C)."""
    return image.flatten(2).transpose(1, 2)


def _image(tokens: Tensor, size: Size) -> Tensor:
    """(T, h w, C) -> (T, C, h, w)."""
    return tokens.transpose(1, 2).unflatten(2, size)


def _convolution(inputs: int, outputs: int, *, stride: int) -> list[nn.Module]:
    # Without process groups, and in evaluation, SyncBatchNorm is plain batch norm on any device.
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return [convolution, nn.SyncBatchNorm(outputs), nn.ReLU()]


@BACKBONE_REGISTRY.register()
def D2VitAdapterDinoV2(cfg: CfgNode, input_shape: ShapeSpec) -> ViTAdapter:  # noqa: N802
    """`MODEL.BACKBONE.NAME: D2VitAdapterDinoV2`, with `MODEL.VIT_ADAPTER.*`.

    Raises:
        ValueError: `MODEL.VIT_ADAPTER.NAME` is none of the sizes.
    """
    adapter = cfg.MODEL.VIT_ADAPTER
    vit = build_vit(adapter.NAME)
    return ViTAdapter(vit, heads=vit.heads, freeze_vit=adapter.FREEZE_VIT)
