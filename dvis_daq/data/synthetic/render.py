"""From a recipe to the frames and the exact masks of one video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from dvis_daq.data.synthetic.recipe import Recipe
from dvis_daq.data.synthetic.scripts import BAR_EVENTS, Bar, World, choose_script, make_path
from dvis_daq.data.synthetic.sprites import Sprite, draw_sprite, hsv_to_rgb, make_sprite

BAR_ID = 255  # of the bar in an id map; background is 0, object n is n + 1

_SENSOR_NOISE = 4.0  # standard deviation, of 255
_JITTER = 0.4  # px


@dataclass(frozen=True)
class SyntheticVideo:
    """A video of T frames with N objects.

    Attributes:
        frames: (T, H, W, 3) uint8 RGB.
        id_map: (T, H, W) uint8, which thing each pixel shows.
        drawn: (N, T) int64, px of each shape inside the image if nothing hid it.
        labels: (N,) int64 class index.
        scripts: what each object does.
    """

    frames: np.ndarray
    id_map: np.ndarray
    drawn: np.ndarray
    labels: np.ndarray
    scripts: tuple[str, ...]

    def masks(self, min_visible: int = 1) -> np.ndarray:
        """(N, T, H, W) bool visible masks; empty where fewer than `min_visible` px show."""
        ids = np.arange(1, len(self.labels) + 1, dtype=np.uint8)
        masks = self.id_map[None] == ids[:, None, None, None]
        return masks & (masks.sum((2, 3), keepdims=True) >= min_visible)


class _Actor(NamedTuple):
    """A sprite and what it does."""

    sprite: Sprite
    script: str
    path: np.ndarray  # (T, 2) centre (x, y), px
    angles: np.ndarray  # (T,) radians


def make_video(recipe: Recipe, split: str, index: int) -> SyntheticVideo:
    """Makes video `index` of a split; a function of its arguments and nothing else."""
    rng = recipe.rng(split, index)
    bar = _make_bar(rng, recipe) if rng.random() < recipe.bar_rate else None
    world = World(
        size=np.array([recipe.width, recipe.height], dtype=float),
        frames=recipe.frames,
        pace=recipe.speed * recipe.unit,
        absence=recipe.absence,
        bar=bar,
    )
    actors = _cast(rng, recipe, world)
    order = _depth_order(rng, actors, bar)
    canvas = _background(rng, recipe)  # (T, H, W, 3)
    id_map, drawn = _compose(canvas, actors, order, _bar_paint(rng, recipe, bar))
    return SyntheticVideo(
        frames=_expose(rng, canvas),
        id_map=id_map,
        drawn=drawn,
        labels=np.array([actor.sprite.label for actor in actors], dtype=np.int64),
        scripts=tuple(actor.script for actor in actors),
    )


def _make_bar(rng: np.random.Generator, recipe: Recipe) -> Bar:
    axis = int(rng.integers(2))
    side = (recipe.width, recipe.height)[axis]
    return Bar(axis, centre=rng.uniform(0.35, 0.65) * side, width=rng.uniform(32, 39) * recipe.unit)


def _cast(rng: np.random.Generator, recipe: Recipe, world: World) -> list[_Actor]:
    actors: list[_Actor] = []
    for _ in range(rng.integers(recipe.objects[0], recipe.objects[1] + 1)):
        script = choose_script(rng, event_rate=recipe.event_rate, has_bar=world.bar is not None)
        largest = 14 if script in BAR_EVENTS else 19  # the bar must cover all of it
        radius = rng.uniform(12, largest) * recipe.unit
        sprite = make_sprite(rng, radius=radius, unit=recipe.unit, hue_cue=recipe.hue_cue)
        if actors and rng.random() < recipe.look_alikes:
            sprite = actors[-1].sprite._replace(radius=radius)
        path = make_path(rng, world, script=script, radius=radius)
        path = path + rng.uniform(-_JITTER, _JITTER, path.shape) * recipe.unit
        spin = rng.uniform(-0.06, 0.06) * np.arange(recipe.frames)
        actors.append(_Actor(sprite, script, path, rng.uniform(0, 2 * np.pi) + spin))
    return actors


def _depth_order(
    rng: np.random.Generator, actors: list[_Actor], bar: Bar | None
) -> list[int | None]:
    """Indices from the farthest to the nearest; None is the bar, rather far than near.

    Who hides is behind it.
    """
    order: list[int | None] = [int(n) for n in rng.permutation(len(actors))]
    if bar is None:
        return order
    hiding = [actor.script in BAR_EVENTS for actor in actors]
    front = max([k + 1 for k, n in enumerate(order) if n is not None and hiding[n]], default=0)
    order.insert(int(rng.integers(front, len(order) + 1, 2).min()), None)
    return order


def _compose(
    canvas: np.ndarray,
    actors: list[_Actor],
    order: list[int | None],
    bar_paint: tuple[tuple[slice, slice], np.ndarray] | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Paints the things onto the background `canvas` (T, H, W, 3), far ones first.

    Returns:
        The id map (T, H, W) and the drawn areas (N, T).
    """
    frames, height, width = canvas.shape[:3]
    id_map = np.zeros((frames, height, width), dtype=np.uint8)
    drawn = np.zeros((len(actors), frames), dtype=np.int64)
    for n in order:
        if n is None:
            assert bar_paint is not None
            window, paint = bar_paint
            canvas[:, window[0], window[1]] = paint
            id_map[:, window[0], window[1]] = BAR_ID
            continue
        for t in range(frames):
            patch = draw_sprite(
                actors[n].sprite,
                centre=actors[n].path[t],
                angle=actors[n].angles[t],
                height=height,
                width=width,
            )
            if patch is not None:
                canvas[t][patch.window][patch.mask] = patch.colour[patch.mask]
                id_map[t][patch.window][patch.mask] = n + 1
                drawn[n, t] = patch.mask.sum()
    return id_map, drawn


def _background(rng: np.random.Generator, recipe: Recipe) -> np.ndarray:
    """(T, H, W, 3) float32: grey-ish noise of two grain sizes that pans."""
    height, width = 2 * recipe.height, 2 * recipe.width  # mirrored beyond, however far it pans
    base = rng.uniform(80, 170) + rng.normal(0, 12, 3)
    texture = np.full((height, width, 3), base, dtype=np.float32)
    for cell, contrast in ((24, 22), (6, 14)):
        grid = np.ceil(np.array([height, width]) / (cell * recipe.unit)).astype(int) + 1
        grey = rng.normal(0, contrast, (*grid, 1)) + rng.normal(0, 0.35 * contrast, (*grid, 3))
        texture += cv2.resize(
            grey.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
        )
    pan = rng.uniform(-1.5, 1.5, 2) * recipe.speed * recipe.unit
    start = np.array([recipe.width, recipe.height]) / 2
    frames = []
    for t in range(recipe.frames):
        shift = np.hstack([np.eye(2), (-start - t * pan)[:, None]])
        frames.append(
            cv2.warpAffine(
                texture, shift, (recipe.width, recipe.height), borderMode=cv2.BORDER_REFLECT
            )
        )
    return np.stack(frames)


def _bar_paint(
    rng: np.random.Generator, recipe: Recipe, bar: Bar | None
) -> tuple[tuple[slice, slice], np.ndarray] | None:
    """The window of the bar and its stripes, (h, w, 3) float32."""
    if bar is None:
        return None
    edges = np.rint(bar.centre + np.array([-0.5, 0.5]) * bar.width).astype(int)
    span = slice(max(int(edges[0]), 0), int(edges[1]))
    window = (slice(None), span) if bar.axis == 0 else (span, slice(None))
    y, x = np.mgrid[: recipe.height, : recipe.width]
    along = (y if bar.axis == 0 else x)[window]
    colours = np.stack([_dull_colour(rng), _dull_colour(rng)])
    return window, colours[(along // (rng.uniform(4, 9) * recipe.unit)).astype(int) % 2]


def _dull_colour(rng: np.random.Generator) -> np.ndarray:
    return hsv_to_rgb(rng.random(), rng.uniform(0, 0.35), rng.uniform(0.35, 0.8))


def _expose(rng: np.random.Generator, canvas: np.ndarray) -> np.ndarray:
    """What a camera makes of (T, H, W, 3) float32: light blur, noise, 8 bits."""
    frames = np.empty(canvas.shape, dtype=np.uint8)
    for t, frame in enumerate(canvas):
        noise = rng.standard_normal(frame.shape, dtype=np.float32) * _SENSOR_NOISE
        blurred = cv2.GaussianBlur(frame, (3, 3), 0.6)
        frames[t] = np.clip(np.rint(blurred + noise), 0, 255)
    return frames
