"""The paper's ablations: `configs/ablations/tables.yaml` as runs, and their results as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dvis_daq.workbench.runs import Run
from dvis_daq.workbench.tables import FIGURES, cell, difference, figures_of, markdown


@dataclass(frozen=True)
class Row:
    """One configuration of a table.

    Attributes:
        name: as in the paper.
        config: what is trained; of a row of another table where both are the same.
        paper: figures of the paper, percent, by name.
    """

    name: str
    config: Path
    paper: Mapping[str, float]


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        key: its number in the paper.
        title: what it is about.
        bases: configurations that all rows share, trained in this order: the segmenter,
            perhaps a tracker.
        rows: in the order of the paper.
    """

    key: str
    title: str
    bases: tuple[Path, ...]
    rows: tuple[Row, ...]

    def run(self, row: Row, seed: int, *, share: float, base_share: float) -> Run:
        """The training of a row on the bases of the same seed.

        Args:
            share: of the configured iterations, for the row and for a base that is itself a row
                of another table, so that one training serves both.
            base_share: the same for the segmenter.
        """
        segmenter, *trackers = self.bases
        start = Run(segmenter, seed, None, base_share)
        for config in trackers:
            start = Run(config, seed, start, share)
        return Run(row.config, seed, start, share)

    def choose(self, names: Sequence[str]) -> Table:
        """The table with some of its rows.

        Raises:
            ValueError: no such row.
        """
        known = [row.name for row in self.rows]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(f"table {self.key} has no row {unknown[0]!r}; it has {known}")
        rows = tuple(row for row in self.rows if row.name in names)
        return Table(self.key, self.title, self.bases, rows)


def read_tables(file: Path) -> dict[str, Table]:
    """All tables of a file; its paths start at its folder.

    Raises:
        ValueError: an entry lacks a key or names a configuration that is not there.
    """
    entries = yaml.safe_load(file.read_text(encoding="utf-8"))
    return {key: _table(file, key, entry) for key, entry in entries.items()}


def results(
    table: Table, runs: Mapping[tuple[str, int], Mapping[str, Any]], seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """The rows with their figures.

    Args:
        runs: figures by name of the row and seed.

    Returns:
        For each row name, config, figures (`tables.figures_of`), paper, and for all but the
        first the difference in AP to the row above, here and in the paper.
    """
    found: list[dict[str, Any]] = []
    for row in table.rows:
        figures = figures_of([runs[row.name, seed] for seed in seeds])
        entry: dict[str, Any] = {"name": row.name, "config": row.config.name, "figures": figures}
        entry["paper"] = dict(row.paper)
        if found:
            above = found[-1]
            entry["difference"] = difference(figures["AP"], above["figures"]["AP"])
            known = "AP" in row.paper and "AP" in above["paper"]
            entry["paper_difference"] = row.paper["AP"] - above["paper"]["AP"] if known else None
        found.append(entry)
    return found


def as_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of `results`, mean ± standard deviation over the seeds, percent."""
    header = ["row", "AP", "to the row above", *list(FIGURES)[1:], "paper's AP", "to the row above"]
    return markdown(header, [_cells(row) for row in rows])


def _cells(row: Mapping[str, Any]) -> list[str]:
    ap, *others = (cell(row["figures"][column]) for column in FIGURES)
    paper, step = row["paper"].get("AP"), row.get("paper_difference")
    return [
        row["name"],
        ap,
        cell(row.get("difference"), signed=True),
        *others,
        "-" if paper is None else f"{paper:.1f}",
        "-" if step is None else f"{step:+.1f}",
    ]


def _table(file: Path, key: str, entry: Mapping[str, Any]) -> Table:
    bases = [entry[name] for name in ("segmenter", "tracker") if name in entry]
    rows = []
    for row in entry["rows"]:
        config = _config(file, key, row.get("same_as", row["config"]))
        rows.append(Row(row["name"], config, row.get("paper") or {}))
    return Table(
        key, entry["title"], tuple(_config(file, key, name) for name in bases), tuple(rows)
    )


def _config(file: Path, key: str, name: str) -> Path:
    path = (file.parent / name).resolve()
    if not path.is_file():
        raise ValueError(f"{file}: table {key} names {name}, which is not there")
    return path
