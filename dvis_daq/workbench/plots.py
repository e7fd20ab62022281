"""Plots as PNG files; matplotlib is imported when one is drawn (extra `plots`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Curve = Sequence[tuple[float, Mapping[str, Any]]]  # x and `tables.figures_of` figure


def scatter(
    points: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]],
    *,
    axes: tuple[str, str],
    file: Path,
) -> None:
    """One point a name, with its spread, in percent.

    Args:
        points: figures along x and y; a point with an undefined figure is left out.
        axes: their titles.
        file: PNG.
    """
    figure = _figure(5, 4)
    panel = figure.add_subplot()
    for name, (x, y) in points.items():
        if x["mean"] is None or y["mean"] is None:
            continue
        spread = {"xerr": x["std"], "yerr": y["std"]}
        panel.errorbar(x["mean"], y["mean"], **spread, fmt="o", capsize=2, label=name)
    panel.set(xlim=(0, 100), ylim=(0, 100), xlabel=axes[0], ylabel=axes[1])
    panel.grid(alpha=0.3)
    panel.legend()
    _save(figure, file)


def curves(panels: Mapping[tuple[str, str], Mapping[str, Curve]], file: Path) -> None:
    """A grid of plots, one row a figure and one column an axis.

    Args:
        panels: (figure, axis) -> name -> points, undefined figures left out.
        file: PNG.
    """
    rows = list(dict.fromkeys(row for row, _ in panels))
    columns = list(dict.fromkeys(column for _, column in panels))
    figure = _figure(2.6 * len(columns), 2.1 * len(rows))
    grid = figure.subplots(len(rows), len(columns), squeeze=False)
    for (row, column), named in panels.items():
        panel = grid[rows.index(row)][columns.index(column)]
        for name, points in named.items():
            known = [(x, y) for x, y in points if y["mean"] is not None]
            means = [y["mean"] for _, y in known]
            spread = [y["std"] or 0 for _, y in known]
            panel.errorbar(
                [x for x, _ in known], means, spread, marker="o", ms=3, capsize=2, label=name
            )
        panel.grid(alpha=0.3)
        panel.set_ylim(bottom=0)
        if row == rows[-1]:
            panel.set_xlabel(column)
        if column == columns[0]:
            panel.set_ylabel(row)
    grid[0][0].legend(fontsize="small")
    _save(figure, file)


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Any, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=72)
