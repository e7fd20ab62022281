"""An encoder-only segmenter in the manner of EoMT (Kerssies et al., CVPR 2025).

The object queries join the tokens of a plain ViT before its last blocks and are read off its
end; there is no adapter, no pixel decoder and no query decoder. What comes out are the same
`FrameOutputs`, so every tracker runs on it. Unlike EoMT the queries see the whole image in
training too: no masked attention, hence nothing to anneal.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn
from torch.nn import functional as F

from dvis_daq.layers import MLP
from dvis_daq.segmenter.dinov2 import VisionTransformer, build_vit
from dvis_daq.segmenter.query_decoder import reid_head
from dvis_daq.segmenter.segmenter import Segmenter
from dvis_daq.structures import FrameOutputs


def build_encoder_segmenter(cfg: CfgNode) -> EncoderSegmenter:
    """`MODEL.SEGMENTER: encoder_only`, with `MODEL.VIT_ADAPTER.NAME` and `MODEL.ENCODER_ONLY`."""
    head, former = cfg.MODEL.SEM_SEG_HEAD, cfg.MODEL.MASK_FORMER
    vit = build_vit(cfg.MODEL.VIT_ADAPTER.NAME)
    dim, reid = vit.pos_embed.shape[-1], None
    if former.REID_BRANCH:
        layers = former.NUM_REID_HEAD_LAYERS
        reid = reid_head(dim, hidden_dim=former.REID_HIDDEN_DIM, num_layers=layers)
    predictor = EncoderPredictor(
        dim,
        mask_dim=head.MASK_DIM,
        num_queries=former.NUM_OBJECT_QUERIES,
        num_classes=head.NUM_CLASSES,
        reid=reid,
    )
    return EncoderSegmenter(
        backbone=vit,
        sem_seg_head=EncoderHead(pixel_decoder=Upscaling(dim, head.MASK_DIM), predictor=predictor),
        query_blocks=cfg.MODEL.ENCODER_ONLY.QUERY_BLOCKS,
        pixel_mean=cfg.MODEL.PIXEL_MEAN,
        pixel_std=cfg.MODEL.PIXEL_STD,
        size_divisibility=former.SIZE_DIVISIBILITY,
    )


class EncoderSegmenter(Segmenter):
    """Segments single frames with the blocks of a ViT alone.

    Args:
        backbone: the transformer, all of which learns.
        sem_seg_head: what reads queries and patches off it.
        query_blocks: last blocks of the transformer that the queries pass.
        pixel_mean, pixel_std, size_divisibility: as for `Segmenter`.

    Raises:
        ValueError: the transformer has fewer blocks, or the images are not padded to patches.
    """

    def __init__(
        self,
        *,
        backbone: VisionTransformer,
        sem_seg_head: EncoderHead,
        query_blocks: int,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        size_divisibility: int = 32,
    ) -> None:
        patch = backbone.patch_embed.proj.stride[0]
        if not 0 < query_blocks <= len(backbone.blocks):
            raise ValueError(
                f"queries cannot pass the last {query_blocks} of {len(backbone.blocks)} blocks"
            )
        if size_divisibility % patch:
            raise ValueError(
                f"a padding to {size_divisibility} pixels is none to patches of {patch}"
            )
        super().__init__(
            backbone=backbone,
            sem_seg_head=sem_seg_head,
            pixel_mean=pixel_mean,
            pixel_std=pixel_std,
            size_divisibility=size_divisibility,
        )
        self.query_blocks = query_blocks
        backbone.norm.requires_grad_(True)  # read here, unlike in an adapter

    def forward(self, images: Tensor) -> FrameOutputs:
        """Segments T frames; in training every block's input is predicted as well."""
        vit, head = self.backbone, self.sem_seg_head
        tokens, grid = vit.embed(self.normalize(images))
        first = len(vit.blocks) - self.query_blocks
        for block in vit.blocks[:first]:
            tokens = block(tokens)
        queries = head.predictor.query_feat.weight.expand(len(tokens), -1, -1)
        tokens = torch.cat([queries, tokens], dim=1)  # (T, Q + 1 + h w, C)
        inputs = []
        for block in vit.blocks[first:]:
            inputs.append(tokens)
            tokens = block(tokens)
        read = [*inputs, tokens] if self.training else [tokens]
        return head([vit.norm(layer) for layer in read], tokens, grid)

    def mask_features(self, images: Tensor) -> Tensor:
        """(T, D, h, w). Patches see the queries, so there is no shorter way to them."""
        return self(images).mask_features


class EncoderHead(nn.Module):
    """Reads queries and mask features off the tokens of a ViT.

    Args:
        pixel_decoder: patches -> mask features.
        predictor: queries -> classes and mask embeddings.
    """

    def __init__(self, *, pixel_decoder: Upscaling, predictor: EncoderPredictor) -> None:
        super().__init__()
        self.pixel_decoder = pixel_decoder
        self.predictor = predictor

    def forward(self, normed: Sequence[Tensor], raw: Tensor, grid: tuple[int, int]) -> FrameOutputs:
        """Predictions of L layers, the last of which is the result.

        Args:
            normed: L times (T, Q + 1 + h w, C): queries, class token, patches.
            raw: the last of them before normalisation.
            grid: (h, w), patches a column and a row.
        """
        predictor, count = self.predictor, self.predictor.num_queries
        queries = [tokens[:, :count] for tokens in normed]
        features = [
            self.pixel_decoder(tokens[:, count + 1 :].mT.unflatten(-1, grid)) for tokens in normed
        ]
        logits = torch.stack([predictor.class_embed(x) for x in queries])  # (L, T, Q, K + 1)
        masks = torch.stack(
            [
                torch.einsum("tqd,tdhw->tqhw", predictor.mask_embed(x), image)
                for x, image in zip(queries, features, strict=True)
            ]
        )
        return FrameOutputs(
            embeds=queries[-1],
            logits=logits[-1],
            masks=masks[-1],
            mask_features=features[-1],
            initial_queries=predictor.query_feat.weight,
            raw_embeds=raw[:, :count],
            reid=None if predictor.reid_embed is None else predictor.reid_embed(queries[-1]),
            deep_logits=logits if self.training else None,
            deep_masks=masks if self.training else None,
        )


class EncoderPredictor(nn.Module):
    """The learned queries, and the heads on what becomes of them.

    Args:
        dim: C, width of the ViT.
        mask_dim: D.
        num_queries: Q.
        num_classes: K, without background.
        reid: re-identification head on the queries; None for none.
    """

    def __init__(
        self,
        dim: int,
        *,
        mask_dim: int,
        num_queries: int,
        num_classes: int,
        reid: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.hidden_dim, self.num_queries, self.num_classes = dim, num_queries, num_classes
        self.query_feat = nn.Embedding(num_queries, dim)
        self.class_embed = nn.Linear(dim, num_classes + 1)
        self.mask_embed = MLP(dim, dim, dim, mask_dim)
        self.reid_embed = reid


class Upscaling(nn.Module):
    """Patches of stride 16 -> mask features of stride 4, by two transposed convolutions."""

    def __init__(self, dim: int, mask_dim: int) -> None:
        super().__init__()
        self.mask_dim = mask_dim
        self.steps = nn.ModuleList(UpscalingStep(dim) for _ in range(2))
        self.mask_features = nn.Conv2d(dim, mask_dim, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(T, C, h, w) -> (T, D, 4 h, 4 w)."""
        for step in self.steps:
            image = step(image)
        return self.mask_features(image)


class UpscalingStep(nn.Module):
    """Twice the size: transposed convolution, GELU, a filter for each channel, norm."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(dim, dim, 2, stride=2)
        self.filter = nn.Conv2d(dim, dim, 3, padding=1, groups=dim, bias=False)
        self.norm = nn.GroupNorm(1, dim)

    def forward(self, image: Tensor) -> Tensor:
        return self.norm(self.filter(F.gelu(self.up(image))))
