"""The emergence benchmark: synthetic settings of growing difficulty, one axis at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dvis_daq.data.synthetic import Recipe
from dvis_daq.workbench.tables import figures_of

# axis -> value on it -> what it changes of the base recipe (`datasets/make_synthetic.py`)
AXES: dict[str, dict[float, dict[str, Any]]] = {
    "event rate": {rate: {"event_rate": rate} for rate in (0.0, 0.3, 0.6, 0.95)},
    "speed": {speed: {"speed": speed} for speed in (0.5, 1.0, 2.0, 4.0)},
    "look-alikes": {chance: {"look_alikes": chance} for chance in (0.0, 0.33, 0.67, 1.0)},
    "objects": {most: {"objects": (most - 2, most)} for most in (3, 5, 8, 12)},
    "frames": {length: {"frames": length} for length in (12, 50, 150, 400)},
}
COLUMNS = {
    "AP": ("AP",),
    "AP^ed": ("events", "ap", "ed", "AP"),
    "emergence recall": ("events", "presence", "emergence_recall"),
    "ghost rate": ("events", "presence", "ghost_rate"),
}
LEAST_VIDEOS = 4


@dataclass(frozen=True)
class Setting:
    """One point of an axis.

    Attributes:
        axis: name in `AXES`.
        value: where it lies.
        recipe: of its validation videos.
    """

    axis: str
    value: float
    recipe: Recipe

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.axis.replace(' ', '_')}_{self.value:g}"


def settings(axes: Sequence[str], base: Recipe) -> Iterator[Setting]:
    """All points of some axes; longer videos are fewer, so that each point costs about the same.

    Args:
        axes: names in `AXES`.
        base: everything that an axis leaves alone; its videos are for its length.
    """
    for axis in axes:
        for value, change in AXES[axis].items():
            recipe = replace(base, **change)
            fewer = round(base.val * base.frames / recipe.frames)
            videos = base.val if axis != "frames" else max(min(base.val, LEAST_VIDEOS), fewer)
            yield Setting(axis, value, replace(recipe, val=videos, train=0))


def points(
    settings: Sequence[Setting], found: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """The figures of each setting and method.

    Args:
        settings: in the order of the axes.
        found: (setting, method) -> what `tools/eval.py --events` says of each of its seeds.

    Returns:
        For each axis, value, videos, method, figures (`tables.figures_of`).
    """
    return [
        {
            "axis": setting.axis,
            "value": setting.value,
            "videos": setting.recipe.val,
            "method": method,
            "figures": figures_of(seeds, COLUMNS),
        }
        for setting in settings
        for (name, method), seeds in found.items()
        if name == setting.name
    ]


def panels(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], dict[str, list[Any]]]:
    """`points` as `plots.curves` draws them."""
    made: dict[tuple[str, str], dict[str, list[Any]]] = {}
    for column in COLUMNS:
        for row in rows:
            panel = made.setdefault((f"{column}, %", row["axis"]), {})
            panel.setdefault(row["method"], []).append((row["value"], row["figures"][column]))
    return made


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """`points` with one line a figure; empty where it is undefined."""
    lines = ["axis,value,videos,method,figure,mean,std"]
    for row in rows:
        for column, figure in row["figures"].items():
            numbers = ("" if figure[k] is None else f"{figure[k]:.2f}" for k in ("mean", "std"))
            place = (row["axis"], f"{row['value']:g}", str(row["videos"]), row["method"], column)
            lines.append(",".join([*place, *numbers]))
    return "\n".join(lines) + "\n"
