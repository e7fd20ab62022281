"""The shape of a feature map."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ShapeSpec"]


@dataclass
class ShapeSpec:
    """What is known of a feature map before it exists."""

    channels: int | None = None
    height: int | None = None
    width: int | None = None
    stride: int | None = None  # pixels of the image per cell
