"""`ImageList`: images padded to one size, with the sizes before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["ImageList"]


class ImageList:
    """Images padded at the right and at the bottom.

    Args:
        tensor: (N, ..., H, W), N images or maps.
        image_sizes: (height, width) of each before padding.
    """

    def __init__(self, tensor: Tensor, image_sizes: list[tuple[int, int]]) -> None:
        self.tensor = tensor
        self.image_sizes = image_sizes

    def __len__(self) -> int:
        return len(self.image_sizes)

    def __getitem__(self, index: int) -> Tensor:
        """Image `index` without padding, (..., h, w)."""
        height, width = self.image_sizes[index]
        return self.tensor[index, ..., :height, :width]

    @property
    def device(self) -> torch.device:
        """Where the pixels are."""
        return self.tensor.device

    def to(self, *args: object, **kwargs: object) -> ImageList:
        """As `Tensor.to`."""
        return ImageList(self.tensor.to(*args, **kwargs), self.image_sizes)

    @staticmethod
    def from_tensors(
        tensors: Sequence[Tensor],
        size_divisibility: int = 0,
        pad_value: float = 0.0,
        padding_constraints: Mapping[str, int] | None = None,
    ) -> ImageList:
        """Pads tensors to a common size.

        Args:
            tensors: each (..., H_i, W_i); the leading axes agree.
            size_divisibility: round height and width up to a multiple of this, if above 1.
            pad_value: value of the added pixels.
            padding_constraints: may hold `size_divisibility`, which replaces the argument, and
                `square_size`, the side of a square to pad to.

        Raises:
            RuntimeError: an image is larger than the square.
        """
        assert len(tensors) > 0
        assert all(tensor.shape[:-2] == tensors[0].shape[:-2] for tensor in tensors)
        constraints = padding_constraints or {}
        multiple = constraints.get("size_divisibility", size_divisibility)
        square = constraints.get("square_size", 0)

        sizes = [(int(tensor.shape[-2]), int(tensor.shape[-1])) for tensor in tensors]
        height, width = (square or max(side) for side in zip(*sizes, strict=True))
        if multiple > 1:
            height, width = (-(-side // multiple) * multiple for side in (height, width))
        if any(h > height or w > width for h, w in sizes):
            raise RuntimeError(f"images of {sizes} pixels do not fit into {height}x{width}")
        padded = [
            F.pad(tensor, (0, width - w, 0, height - h), value=pad_value)
            for tensor, (h, w) in zip(tensors, sizes, strict=True)
        ]
        return ImageList(torch.stack(padded), sizes)
