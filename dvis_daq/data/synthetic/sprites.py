"""Textured sprites of five classes: shape, colour, texture, and how one is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

CLASSES = ("disc", "square", "triangle", "star", "cross")
TEXTURES = ("stripes", "checks", "rings", "plain")

_HUE_SPREAD = 0.07
_REACH = 1.25  # radii from the centre to the farthest corner of any shape
_SUBPIXEL_BITS = 4
_GRAIN = 8  # cells of the noise grid along a side


class Sprite(NamedTuple):
    """How one object looks.

    Attributes:
        label: class index, into `CLASSES`.
        radius: px.
        colours: (2, 3) float32 RGB 0..255, of the body and of the pattern.
        texture: one of `TEXTURES`.
        period: of the pattern in px.
        grain: (8, 8) float32 brightness offsets that turn with the sprite.
    """

    label: int
    radius: float
    colours: np.ndarray
    texture: str
    period: float
    grain: np.ndarray


@dataclass(frozen=True)
class Patch:
    """A drawn sprite, cut at the image border.

    Attributes:
        window: rows and columns of the image that it lies in.
        mask: (h, w) bool, the pixels of the shape.
        colour: (h, w, 3) float32 RGB 0..255.
    """

    window: tuple[slice, slice]
    mask: np.ndarray
    colour: np.ndarray


def make_sprite(rng: np.random.Generator, *, radius: float, unit: float, hue_cue: bool) -> Sprite:
    """Draws a class and a dress for it.

    Args:
        radius: px.
        unit: scale of lengths, 1 for a shorter image side of 96 px.
        hue_cue: whether the class decides the hue, up to +-0.07.
    """
    label = int(rng.integers(len(CLASSES)))
    spread = rng.uniform(-_HUE_SPREAD, _HUE_SPREAD)
    hue = (label / len(CLASSES) + spread) % 1 if hue_cue else rng.random()
    body = hsv_to_rgb(hue, rng.uniform(0.6, 1.0), rng.uniform(0.55, 1.0))
    return Sprite(
        label=label,
        radius=radius,
        colours=np.stack([body, body * rng.uniform(0.35, 0.65)]),
        texture=str(rng.choice(TEXTURES)),
        period=float(rng.uniform(2.5, 4.5) * unit),
        grain=rng.normal(0, 8, (_GRAIN, _GRAIN)).astype(np.float32),
    )


def draw_sprite(
    sprite: Sprite, *, centre: np.ndarray, angle: float, height: int, width: int
) -> Patch | None:
    """Rasterises a sprite.

    Args:
        centre: (x, y) in px.
        angle: in radians.

    Returns:
        The patch, or None where no pixel of the sprite is inside the image.
    """
    reach = int(np.ceil(_REACH * sprite.radius)) + 1
    x0, y0 = np.floor(centre).astype(int) - reach
    rows = slice(max(y0, 0), min(y0 + 2 * reach + 1, height))
    cols = slice(max(x0, 0), min(x0 + 2 * reach + 1, width))
    if rows.start >= rows.stop or cols.start >= cols.stop:
        return None
    origin = np.array([cols.start, rows.start])
    mask = np.zeros((rows.stop - rows.start, cols.stop - cols.start), dtype=np.uint8)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = (_OUTLINES[sprite.label] * sprite.radius) @ turn.T + centre - origin  # (V, 2)
    fixed = np.rint(corners * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(mask, [fixed], 1, shift=_SUBPIXEL_BITS)
    y, x = np.mgrid[rows, cols]
    offsets = np.stack([x - centre[0], y - centre[1]], axis=-1) @ turn  # (h, w, 2)
    return Patch((rows, cols), mask.astype(bool), _paint(sprite, offsets))


def hsv_to_rgb(hue: float, saturation: float, value: float) -> np.ndarray:
    """(3,) float32 RGB 0..255 of a colour given in 0..1."""
    ramp = np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1
    rgb = 1 - saturation * (1 - np.clip(ramp, 0, 1))
    return (255 * value * rgb).astype(np.float32)


def _paint(sprite: Sprite, offsets: np.ndarray) -> np.ndarray:
    """Colour at offsets (h, w, 2) in px from the centre, in the frame of the sprite."""
    cell = np.floor(offsets / sprite.period).astype(int)
    if sprite.texture == "stripes":
        pattern = cell[..., 0] % 2
    elif sprite.texture == "checks":
        pattern = cell.sum(-1) % 2
    elif sprite.texture == "rings":
        pattern = (np.hypot(offsets[..., 0], offsets[..., 1]) // sprite.period).astype(int) % 2
    else:
        pattern = np.zeros(offsets.shape[:2], dtype=int)
    place = (offsets / (_REACH * sprite.radius) + 1) * (_GRAIN / 2)
    place = np.clip(place.astype(int), 0, _GRAIN - 1)
    return sprite.colours[pattern] + sprite.grain[place[..., 1], place[..., 0], None]


def _regular(count: int, radii: tuple[float, ...]) -> np.ndarray:
    """(count, 2) corners at equal angles, the first one up, with the radii in turn."""
    angles = np.arange(count) * (2 * np.pi / count) - np.pi / 2
    length = np.resize(np.array(radii), count)
    return np.stack([length * np.cos(angles), length * np.sin(angles)], axis=1)


def _cross(arm: float, half: float) -> np.ndarray:
    """(12, 2) corners of a plus sign with arms of length `arm` and width 2 `half`."""
    quarter = np.array([[half, -arm], [half, -half], [arm, -half]])
    turns = [np.array([[c, -s], [s, c]]) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))]
    return np.concatenate([quarter @ turn.T for turn in turns])


# Corners for radius 1, in the order of CLASSES; none is further out than _REACH.
_OUTLINES = (
    _regular(48, (1.0,)),
    _regular(4, (1.2,)),
    _regular(3, (1.25,)),
    _regular(10, (1.25, 0.58)),
    _cross(arm=1.1, half=0.4),
)
