"""What a sprite does in a video: paths of way-points, joined by straight lines.

Every event is a walk through one or two *doorways*. A doorway is a place out of sight and
the place in sight beside it: across the image border, or out from behind the bar.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

# Relative frequencies; the two that need a bar leave their share to the others without one.
EVENTS = {
    "enter": 17,
    "leave": 12,
    "pass_through": 6,
    "leave_and_return": 8,
    "pop_out": 11,
    "hide": 6,
}
BAR_EVENTS = ("pop_out", "hide")
STAY = "stay"

_INSTANT = 1e-6  # frames; a sprite changes doors out of sight
_BEYOND = 1.3  # radii between the image border and the centre of a sprite that is out of sight


class WayPoint(NamedTuple):
    """A sprite's centre (x, y) in px at a time in frames."""

    time: float
    place: np.ndarray


class Doorway(NamedTuple):
    """Two centres (x, y) in px: one where a sprite is out of sight, one where it shows."""

    unseen: np.ndarray
    seen: np.ndarray


@dataclass(frozen=True)
class Bar:
    """An occluder across the whole image.

    Attributes:
        axis: 0 for an upright bar that covers a range of x, 1 for a lying one.
        centre: of that range, px.
        width: of that range, px.
    """

    axis: int
    centre: float
    width: float


@dataclass(frozen=True)
class World:
    """Where sprites walk.

    Attributes:
        size: (width, height) in px.
        frames: length T of the video.
        pace: px per frame that counts as speed 1.
        absence: about how many frames a sprite that comes back is out of sight.
        bar: the occluder, if the video has one.
    """

    size: np.ndarray
    frames: int
    pace: float
    absence: int
    bar: Bar | None

    @property
    def end(self) -> int:
        return self.frames - 1

    def keep_inside(self, place: np.ndarray, radius: float) -> np.ndarray:
        margin = np.minimum(1.1 * radius, 0.5 * self.size)
        return np.clip(place, margin, self.size - margin)

    def border(self, rng: np.random.Generator, radius: float) -> Doorway:
        """A doorway across a random side of the image."""
        axis, far = rng.integers(2), rng.integers(2)
        place = rng.uniform(0.15, 0.85, 2) * self.size
        inward = -1 if far else 1
        side = self.size[axis] * far
        unseen, seen = place.copy(), place.copy()
        unseen[axis] = side - inward * _BEYOND * radius
        seen[axis] = side + inward * rng.uniform(1.2, 2.5) * radius
        return Doorway(unseen, self.keep_inside(seen, radius))

    def behind_bar(self, rng: np.random.Generator, radius: float) -> Doorway:
        """A doorway out from behind the bar, on a random side of it."""
        assert self.bar is not None
        axis, centre = self.bar.axis, self.bar.centre
        unseen = rng.uniform(0.2, 0.8, 2) * self.size
        unseen[axis] = centre
        seen = unseen.copy()
        reach = 0.5 * self.bar.width + rng.uniform(1.1, 1.8) * radius
        seen[axis] = centre + rng.choice([-1, 1]) * reach
        return Doorway(unseen, self.keep_inside(seen, radius))


def choose_script(rng: np.random.Generator, *, event_rate: float, has_bar: bool) -> str:
    """Draws what a sprite does: `STAY` or a key of `EVENTS`."""
    if rng.random() >= event_rate:
        return STAY
    names = [name for name in EVENTS if has_bar or name not in BAR_EVENTS]
    weights = np.array([EVENTS[name] for name in names], dtype=float)
    return str(rng.choice(names, p=weights / weights.sum()))


def make_path(rng: np.random.Generator, world: World, *, script: str, radius: float) -> np.ndarray:
    """Plays a script.

    Returns:
        (T, 2) centre (x, y) of the sprite in px; outside the image where it is away.
    """
    if script == STAY:
        place = world.keep_inside(rng.uniform(0.1, 0.9, 2) * world.size, radius)
        return _follow(_stroll(rng, world, place, 0, world.end, radius), world.frames)
    door = world.behind_bar if script in BAR_EVENTS else world.border
    if script in ("enter", "pop_out"):
        return _follow(_appear(rng, world, door(rng, radius), radius), world.frames)
    if script == "leave":
        return _follow(_appear(rng, world, door(rng, radius), radius), world.frames)[::-1]
    if script == "pass_through":
        return _follow(_visit(rng, world, radius), world.frames)
    way_out, way_in = door(rng, radius), door(rng, radius)
    return _follow(_go_and_return(rng, world, way_out, way_in, radius), world.frames)


def _follow(points: list[WayPoint], frames: int) -> np.ndarray:
    times = np.array([point.time for point in points])
    places = np.stack([point.place for point in points])
    now = np.arange(frames)
    return np.stack([np.interp(now, times, places[:, axis]) for axis in (0, 1)], axis=1)


def _stroll(
    rng: np.random.Generator,
    world: World,
    place: np.ndarray,
    begin: float,
    end: float,
    radius: float,
) -> list[WayPoint]:
    """Two legs in sight from `place`, with a turn between."""
    points = [WayPoint(begin, place)]
    for time in (begin + rng.uniform(0.3, 0.7) * (end - begin), end):
        angle = rng.uniform(0, 2 * np.pi)
        step = world.pace * rng.uniform(1.5, 6.5) * max(time - points[-1].time, 0)
        target = points[-1].place + step * np.array([np.cos(angle), np.sin(angle)])
        points.append(WayPoint(time, world.keep_inside(target, radius)))
    return points


def _appear(rng: np.random.Generator, world: World, door: Doorway, radius: float) -> list[WayPoint]:
    """Out of sight for a while, then through the door, then in sight."""
    begin = rng.uniform(0.1, 0.5) * world.end
    inside = begin + _duration(rng, world, door)
    points = [WayPoint(begin, door.unseen)]
    return points + _stroll(rng, world, door.seen, inside, max(world.end, inside), radius)


def _visit(rng: np.random.Generator, world: World, radius: float) -> list[WayPoint]:
    """In over one border and out over the nearest one later."""
    door = world.border(rng, radius)
    begin = rng.uniform(0.05, 0.3) * world.end
    inside = begin + _duration(rng, world, door)
    turn = max(inside, rng.uniform(0.55, 0.75) * world.end)
    points = [WayPoint(begin, door.unseen)]
    points += _stroll(rng, world, door.seen, inside, turn, radius)
    last = points[-1].place
    gaps = np.concatenate([last, world.size - last])  # to the left, top, right, bottom
    axis, far = int(gaps.argmin()) % 2, int(gaps.argmin()) // 2
    goal = last.copy()
    goal[axis] = world.size[axis] + _BEYOND * radius if far else -_BEYOND * radius
    leave = min(turn + _duration(rng, world, Doorway(goal, last)), max(world.end, turn))
    return [*points, WayPoint(leave, goal)]


def _go_and_return(
    rng: np.random.Generator, world: World, way_out: Doorway, way_in: Doorway, radius: float
) -> list[WayPoint]:
    """In sight, out of sight for about `world.absence` frames, in sight again."""
    out, back = _duration(rng, world, way_out), _duration(rng, world, way_in)
    away = max(world.absence + int(rng.integers(-2, 1)), 1)
    slack = world.end - (out + away + back)
    begin = max(0.5, rng.uniform(0.2, 0.8) * slack)
    gone = begin + out
    returned = gone + away + back
    before = _stroll(rng, world, way_out.seen, 0, begin, radius)
    # Strolled backwards, so that the sprite is at the door when it leaves.
    points = [WayPoint(begin - p.time, p.place) for p in reversed(before)]
    points += [WayPoint(gone, way_out.unseen), WayPoint(gone + away - _INSTANT, way_out.unseen)]
    points.append(WayPoint(gone + away, way_in.unseen))
    return points + _stroll(rng, world, way_in.seen, returned, max(world.end, returned), radius)


def _duration(rng: np.random.Generator, world: World, door: Doorway) -> float:
    """Frames that it takes to walk through a door."""
    distance = float(np.linalg.norm(door.seen - door.unseen))
    return distance / (world.pace * rng.uniform(6, 12))
