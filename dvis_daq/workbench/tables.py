"""Figures of several seeds as a table: mean, spread, differences, in percent."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

# column -> where it stands in the json of tools/eval.py --events
FIGURES = {
    "AP": ("AP",),
    "AP50": ("AP50",),
    "AP^ed": ("events", "ap", "ed", "AP"),
    "emergence recall": ("events", "presence", "emergence_recall"),
    "ghost rate": ("events", "presence", "ghost_rate"),
}


def figures_of(
    seeds: Sequence[Mapping[str, Any]], columns: Mapping[str, tuple[str, ...]] = FIGURES
) -> dict[str, dict[str, Any]]:
    """The columns of one row.

    Args:
        seeds: the figures of each seed, fractions as `tools/eval.py` writes them.
        columns: where each stands in them.

    Returns:
        For each column mean, std (of the sample; None for one seed) and values, in percent; a
        figure that is undefined for a seed makes the column undefined.
    """
    return {column: _summary([_at(one, path) for one in seeds]) for column, path in columns.items()}


def difference(row: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Of two columns, seed by seed: the same summary as in `figures_of`."""
    if row["values"] is None or above["values"] is None:
        return _summary([None])
    return _summary([(a - b) / 100 for a, b in zip(row["values"], above["values"], strict=True)])


def cell(figure: Mapping[str, Any] | None, *, signed: bool = False, digits: int = 1) -> str:
    """Mean and spread as text."""
    if figure is None or figure["mean"] is None:
        return "-"
    spread = "" if figure["std"] is None else f" ± {figure['std']:.{digits}f}"
    return f"{figure['mean']:{'+' if signed else ''}.{digits}f}{spread}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [_line(header), "|---" * len(header) + "|", *map(_line, rows)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _summary(fractions: Sequence[float | None]) -> dict[str, Any]:
    values = [100 * value for value in fractions if value is not None]
    if len(values) < len(fractions):
        return {"mean": None, "std": None, "values": None}
    spread = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.mean(values), "std": spread, "values": values}


def _at(figures: Mapping[str, Any], path: Sequence[str]) -> float | None:
    found: Any = figures
    for name in path:
        found = found[name]
    return None if found is None else float(found)
