"""Segmenter S of Eq. 1: frames in, candidates with classes and masks out.

Frames are independent of each other; to cut a clip into windows is a matter of memory alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dvis_daq.segmenter.pixel_decoder import PixelDecoder
from dvis_daq.segmenter.query_decoder import QueryDecoder
from dvis_daq.structures import FrameOutputs


class SegmentationHead(nn.Module):
    """Pixel decoder and query decoder under the names of the released checkpoints."""

    def __init__(self, *, pixel_decoder: PixelDecoder, predictor: QueryDecoder) -> None:
        super().__init__()
        self.pixel_decoder = pixel_decoder
        self.predictor = predictor

    def forward(self, features: Mapping[str, Tensor]) -> FrameOutputs:
        return self.predictor(self.pixel_decoder(features))


class Segmenter(nn.Module):
    """Mask2Former of single frames.

    Args:
        backbone: maps images (T, 3, H, W) to a dict of feature maps, as in Detectron2.
        sem_seg_head: the two decoders.
        pixel_mean, pixel_std: of the three channels, 0..255, in RGB order.
        size_divisibility: images are padded to a multiple of this many pixels.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        *,
        backbone: nn.Module,
        sem_seg_head: SegmentationHead,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        size_divisibility: int = 32,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.sem_seg_head = sem_seg_head
        self.size_divisibility = size_divisibility
        for name, values in (("pixel_mean", pixel_mean), ("pixel_std", pixel_std)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    @property
    def num_queries(self) -> int:
        return self.sem_seg_head.predictor.num_queries

    @property
    def num_classes(self) -> int:
        return self.sem_seg_head.predictor.num_classes

    @property
    def hidden_dim(self) -> int:
        return self.sem_seg_head.predictor.hidden_dim

    @property
    def mask_dim(self) -> int:
        return self.sem_seg_head.pixel_decoder.mask_dim

    def normalize(self, images: Tensor) -> Tensor:
        """Brings images to the statistics and the size that the backbone wants.

        Args:
            images: (T, 3, H, W) RGB 0..255, of any dtype and device.

        Returns:
            (T, 3, H', W') on the segmenter's device, channels last in memory, which convolution
            and pooling prefer; padding at the bottom and the right is zero, that is the mean
            colour.

        Raises:
            ValueError: images of another shape.
        """
        if images.dim() != 4 or images.shape[1] != 3:
            raise ValueError(f"images have shape {tuple(images.shape)}, expected (T, 3, H, W)")
        # they travel as they are, in bytes, and become numbers where they arrive
        images = images.to(self.pixel_mean.device, non_blocking=True)
        images = (images.to(self.pixel_mean.dtype) - self.pixel_mean) / self.pixel_std
        bottom, right = (-size % self.size_divisibility for size in images.shape[-2:])
        padded = F.pad(images, (0, right, 0, bottom))
        return padded.contiguous(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> FrameOutputs:
        """Segments T frames, `images` as in `normalize`."""
        return self.sem_seg_head(self.backbone(self.normalize(images)))

    def mask_features(self, images: Tensor) -> Tensor:
        """(T, D, h, w) mask features alone, `images` as in `normalize`."""
        return self.sem_seg_head.pixel_decoder(self.backbone(self.normalize(images))).mask_features
