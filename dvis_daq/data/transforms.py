"""Augmentation of a clip, the same for all its frames by construction.

A `Plan` says what happens to every frame and every mask of one clip: which window of it is
seen, at which size, mirrored or not, with which colours. There is no chance in a plan. Random
transforms take a plan to the next one; they draw once per clip, from an explicit generator.

Resizes and crops only move the window, so pixels are resampled once at the end, however many
there are, and a mask is read at exactly the pixels that its clip shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor
from torch.nn.functional import pad
from torchvision.transforms.v2 import functional as F

Size = tuple[int, int]  # (height, width) in pixels

PADDING = 128  # grey beside an image that does not fill its frame

CROP_TYPES = ("absolute", "absolute_range", "relative", "relative_range")


class Grid(NamedTuple):
    """Where the pixels of a transformed frame come from: (i, j) shows (rows[i], columns[j])."""

    rows: np.ndarray  # (H',) int64
    columns: np.ndarray  # (W',) int64

    @property
    def size(self) -> Size:
        return len(self.rows), len(self.columns)


@dataclass(frozen=True)
class Plan:
    """What happens to every frame of one clip.

    Attributes:
        size: of the frames that come out.
        top, left, height, width: the window of the original frame that is seen, in pixels.
        mirrored: left and right are swapped.
        colors: what is done to the resized image, in this order.
        canvas: size of the grey frame that the image lies in, at its top left; None: no border.
    """

    size: Size
    top: float
    left: float
    height: float
    width: float
    mirrored: bool = False
    colors: tuple[Callable[[Tensor], Tensor], ...] = ()
    canvas: Size | None = None

    @classmethod
    def start(cls, size: Size) -> Plan:
        """Frames of `size` as they are."""
        return cls(size, top=0, left=0, height=size[0], width=size[1])

    def resized(self, size: Size) -> Plan:
        return replace(self, size=size)

    def cropped(self, top: int, left: int, size: Size) -> Plan:
        """Keeps a window of `size` that begins at (top, left) of what comes out so far."""
        if self.mirrored:
            left = self.size[1] - left - size[1]
        y, x = self.height / self.size[0], self.width / self.size[1]
        return replace(
            self,
            size=size,
            top=self.top + top * y,
            left=self.left + left * x,
            height=size[0] * y,
            width=size[1] * x,
        )

    def flipped(self) -> Plan:
        return replace(self, mirrored=not self.mirrored)

    def padded(self, canvas: Size) -> Plan:
        """Fills what comes out so far up to `canvas`; to be the last of all steps."""
        return replace(self, canvas=canvas)

    def colored(self, color: Callable[[Tensor], Tensor]) -> Plan:
        return replace(self, colors=(*self.colors, color))

    def __call__(self, image: Tensor) -> Tensor:
        """Transforms (..., 3, H, W) uint8 images; antialiased bilinear."""
        rows, columns = self._window()
        image = image[..., rows, columns]
        if tuple(image.shape[-2:]) != self.size:
            image = F.resize_image(image, list(self.size), antialias=True)
        if self.mirrored:
            image = image.flip(-1)
        for color in self.colors:
            image = color(image)
        return self._bordered(image, PADDING)

    def pad_masks(self, masks: Tensor) -> Tensor:
        """Gives (..., h, w) bool masks that were read on `grid` the border of the images."""
        return self._bordered(masks, False)

    def grid(self) -> Grid:
        """The pixel of the original frame that each pixel shows: the nearest to its centre.

        The border is no part of it, see `pad_masks`.
        """
        rows, columns = (
            window.start + ((np.arange(side) + 0.5) * (window.stop - window.start) // side)
            for window, side in zip(self._window(), self.size, strict=True)
        )
        columns = columns[::-1] if self.mirrored else columns
        return Grid(rows.astype(np.int64), columns.astype(np.int64))

    def _bordered(self, pixels: Tensor, value: int) -> Tensor:
        """Fills (..., h, w) up to the canvas, at the right and the bottom."""
        if self.canvas is None:
            return pixels
        height, width = self.canvas
        return pad(pixels, (0, width - self.size[1], 0, height - self.size[0]), value=value)

    def _window(self) -> tuple[slice, slice]:
        """The window in whole pixels, at least one."""
        return _whole(self.top, self.height), _whole(self.left, self.width)


class ClipTransform(Protocol):
    def draw(self, plan: Plan, rng: np.random.Generator) -> Plan:
        """The plan of one clip with this transform added."""


@dataclass(frozen=True)
class Compose:
    """One transform after the other."""

    transforms: Sequence[ClipTransform]

    def draw(self, plan: Plan, rng: np.random.Generator) -> Plan:
        for transform in self.transforms:
            plan = transform.draw(plan, rng)
        return plan


@dataclass(frozen=True)
class Sometimes:
    """`transform` for a clip with `probability`, nothing otherwise."""

    transform: ClipTransform
    probability: float

    def draw(self, plan: Plan, rng: np.random.Generator) -> Plan:
        return self.transform.draw(plan, rng) if rng.random() < self.probability else plan


@dataclass(frozen=True)
class ResizeShortestEdge:
    """Scales so that the shorter side has one of `sizes`, the longer at most `max_size` pixels.

    Attributes:
        sizes: choices, or with `span` the two ends of a range (both included).
    """

    sizes: Sequence[int]
    max_size: int
    span: bool = False

    def __post_init__(self) -> None:
        if not self.sizes or min(self.sizes) < 1 or self.max_size < 1:
            raise ValueError(f"sizes must be positive: {self.sizes}, at most {self.max_size}")
        if self.span and len(self.sizes) != 2:
            raise ValueError(f"a range of sizes needs its two ends, got {tuple(self.sizes)}")

    def draw(self, plan: Plan, rng: np.random.Generator) -> Plan:
        if self.span:
            edge = int(rng.integers(self.sizes[0], self.sizes[1], endpoint=True))
        else:
            edge = int(rng.choice(self.sizes))
        return plan.resized(shortest_edge(plan.size, edge, self.max_size))


@dataclass(frozen=True)
class LargeScaleJitter:
    """Scales the clip a lot, then shows one square of it, filled up where the clip is smaller.

    Attributes:
        size: side of the square, pixels.
        min_scale, max_scale: the clip fits in a square of `size` times a factor uniform in this
            range.
    """

    size: int
    min_scale: float
    max_scale: float

    def __post_init__(self) -> None:
        if not (self.size >= 1 and 0 < self.min_scale <= self.max_scale):
            raise ValueError(f"needs size >= 1 and 0 < min_scale <= max_scale: {self}")

    def draw(self, plan: Plan, rng: np.random.Generator) -> Plan:
        scale = self.size * rng.uniform(self.min_scale, self.max_scale) / max(plan.size)
        plan = plan.resized(tuple(max(1, int(side * scale + 0.5)) for side in plan.size))
        shown = tuple(min(side, self.size) for side in plan.size)
        top, left = (
            int(rng.integers(side - part, endpoint=True))
            for side, part in zip(plan.size, shown, strict=True)
        )
        return plan.cropped(top, left, shown).padded((self.size, self.size))


@dataclass(frozen=True)
class RandomCrop:
    """Cuts one window out of all frames.

    Attributes:
        kind: `absolute`: `size` pixels; `absolute_range`: height and width each uniform in
            `size[0]..size[1]` pixels (never more than the frame has); `relative`: `size` times
            the frame; `relative_range`: factors uniform in `size..1`.
        size: two numbers, (height, width) or (least, most).
    """

    kind: str
    size: tuple[float, float]

    def __post_init__(self) -> None:
        if self.kind not in CROP_TYPES:
            raise ValueError(f"crop type '{self.kind}' is none of {', '.join(CROP_TYPES)}")

    def draw(self, plan: Plan, rng: np.random.Generator) -> Plan:
        height, width = (self._side(axis, side, rng) for axis, side in enumerate(plan.size))
        top = int(rng.integers(plan.size[0] - height, endpoint=True))
        left = int(rng.integers(plan.size[1] - width, endpoint=True))
        return plan.cropped(top, left, (height, width))

    def _side(self, axis: int, side: int, rng: np.random.Generator) -> int:
        if self.kind == "absolute":
            return min(int(self.size[axis]), side)
        if self.kind == "absolute_range":
            least, most = (min(int(s), side) for s in self.size)
            return int(rng.integers(least, most, endpoint=True))
        factor = self.size[axis]
        if self.kind == "relative_range":
            factor = rng.uniform(factor, 1)
        return max(1, int(side * factor + 0.5))


@dataclass(frozen=True)
class HorizontalFlip:
    """Mirrors the clip left to right."""

    def draw(self, plan: Plan, rng: np.random.Generator) -> Plan:
        return plan.flipped()


@dataclass(frozen=True)
class ColorJitter:
    """Brightness, contrast and saturation times a factor uniform in 1 - x .. 1 + x."""

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0

    def __post_init__(self) -> None:
        for name, amount in vars(self).items():
            if not 0 <= amount <= 1:
                raise ValueError(f"{name} must lie in 0..1, got {amount}")

    def draw(self, plan: Plan, rng: np.random.Generator) -> Plan:
        for adjust, amount in (
            (F.adjust_brightness_image, self.brightness),
            (F.adjust_contrast_image, self.contrast),
            (F.adjust_saturation_image, self.saturation),
        ):
            if amount:
                factor = rng.uniform(1 - amount, 1 + amount)
                plan = plan.colored(partial(_adjusted, adjust, factor))
        return plan


def shortest_edge(size: Size, edge: int, max_size: int) -> Size:
    """Size of a frame whose shorter side becomes `edge`, unless the longer passes `max_size`.

    Halves round up, as in Detectron2.
    """
    scale = edge / min(size)
    if scale * max(size) > max_size:
        scale = max_size / max(size)
    height, width = (max(1, int(side * scale + 0.5)) for side in size)
    return height, width


def _whole(start: float, length: float) -> slice:
    """A stretch in whole pixels: at least one, and none beyond its end."""
    first = min(int(start + 0.5), int(start + length - 1e-6))
    return slice(first, max(first + 1, int(start + length + 0.5)))


def _adjusted(adjust: Callable[[Tensor, float], Tensor], factor: float, image: Tensor) -> Tensor:
    return adjust(image, factor)
