"""Augmentation of a clip, the same for all its frames by construction.

A random transform draws its parameters once per clip, from the size of the frames and an
explicit random generator, and gives a step without any chance left in it. The steps of a clip
are a `Plan`, which is then applied to every frame and every mask (torchvision transforms v2:
`Image`, `Video` and `Mask` are told apart by their type).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F
from torchvision.tv_tensors import Mask

Size = tuple[int, int]  # (height, width) in pixels
T = TypeVar("T", bound=Tensor)
Step = Callable[[T], T]

CROP_TYPES = ("absolute", "absolute_range", "relative", "relative_range")


class Plan(NamedTuple):
    """What happens to every frame of one clip."""

    steps: tuple[Step, ...]
    size: Size  # of the frames that come out

    def __call__(self, value: T) -> T:
        """Transforms an `Image`, `Video` or `Mask` of shape (..., H, W), uint8."""
        for step in self.steps:
            value = step(value)
        return value


class ClipTransform(Protocol):
    def draw(self, size: Size, rng: np.random.Generator) -> Plan:
        """Parameters for one clip with frames of `size`."""


@dataclass(frozen=True)
class Compose:
    """One transform after the other."""

    transforms: Sequence[ClipTransform]

    def draw(self, size: Size, rng: np.random.Generator) -> Plan:
        steps: tuple[Step, ...] = ()
        for transform in self.transforms:
            plan = transform.draw(size, rng)
            steps, size = steps + plan.steps, plan.size
        return Plan(steps, size)


@dataclass(frozen=True)
class Sometimes:
    """`transform` for a clip with `probability`, nothing otherwise."""

    transform: ClipTransform
    probability: float

    def draw(self, size: Size, rng: np.random.Generator) -> Plan:
        return self.transform.draw(size, rng) if rng.random() < self.probability else Plan((), size)


@dataclass(frozen=True)
class ResizeShortestEdge:
    """Scales so that the shorter side has one of `sizes`, the longer at most `max_size` pixels.

    Images: antialiased bilinear; masks: nearest.

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

    def draw(self, size: Size, rng: np.random.Generator) -> Plan:
        if self.span:
            edge = int(rng.integers(self.sizes[0], self.sizes[1], endpoint=True))
        else:
            edge = int(self.sizes[rng.integers(len(self.sizes))])
        target = shortest_edge(size, edge, self.max_size)
        return Plan((), size) if target == size else Plan((_Resize(target),), target)


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

    def draw(self, size: Size, rng: np.random.Generator) -> Plan:
        height, width = (self._side(axis, side, rng) for axis, side in enumerate(size))
        top = int(rng.integers(size[0] - height, endpoint=True))
        left = int(rng.integers(size[1] - width, endpoint=True))
        return Plan((_Crop(top, left, height, width),), (height, width))

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

    def draw(self, size: Size, rng: np.random.Generator) -> Plan:
        return Plan((F.horizontal_flip,), size)


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

    def draw(self, size: Size, rng: np.random.Generator) -> Plan:
        amounts = (self.brightness, self.contrast, self.saturation)
        adjust = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)
        steps = tuple(
            _Color(function, rng.uniform(1 - amount, 1 + amount))
            for function, amount in zip(adjust, amounts, strict=True)
            if amount
        )
        return Plan(steps, size)


def shortest_edge(size: Size, edge: int, max_size: int) -> Size:
    """Size of a frame whose shorter side becomes `edge`, unless the longer passes `max_size`.

    Halves round up, as in Detectron2.
    """
    scale = edge / min(size)
    if scale * max(size) > max_size:
        scale = max_size / max(size)
    height, width = (max(1, int(side * scale + 0.5)) for side in size)
    return height, width


class _Resize(NamedTuple):
    size: Size

    def __call__(self, value: T) -> T:
        if not isinstance(value, Mask):
            return F.resize(value, list(self.size), antialias=True)
        # not `F.resize`: its masks are shifted by half a pixel against the image
        nearest = InterpolationMode.NEAREST_EXACT
        return Mask(F.resize_image(value.as_subclass(Tensor), list(self.size), nearest))


class _Crop(NamedTuple):
    top: int
    left: int
    height: int
    width: int

    def __call__(self, value: T) -> T:
        return F.crop(value, *self)


class _Color(NamedTuple):
    adjust: Callable[[T, float], T]
    factor: float

    def __call__(self, value: T) -> T:
        return value if isinstance(value, Mask) else self.adjust(value, self.factor)
