"""Writes the figures of `make bench` into a document, between two marks.

    python benchmarks/report.py output/bench docs/benchmarks.md
    python benchmarks/report.py output/bench            # to the terminal

Each benchmark leaves a json file; those that are not there are left out, and the text of the
document around the marks stays as it is.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a plain checkout

from benchmarks import stream, train
from dvis_daq.workbench.tables import markdown

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
TITLES = {
    "stream": "A whole video",
    "lengths": "Memory against the length of the video",
    "train": "A training step",
    "step": "One step of the trackers",
    "model": "Each part, and its share of the limit",
    "evaluators": "Evaluation of instances",
    "labels": "Evaluation of label images, a video of 24 frames at 720 x 1280",
    "deformable_attention": "Deformable attention",
    "loader": "Loader",
}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the benchmarks wrote their json files")
    parser.add_argument("document", type=Path, nargs="?", help="Markdown with the two marks")
    args = parser.parse_args(argv)
    text = report(args.folder)
    if not text:
        parser.error(f"{args.folder} has none of {', '.join(f'{name}.json' for name in TITLES)}")
    if args.document is None:
        print(text)
        return
    try:
        args.document.write_text(inserted(args.document.read_text(), text))
    except ValueError as error:
        parser.error(f"{args.document}: {error}")


def report(folder: Path) -> str:
    """One section for each file that is there."""
    sections = []
    for name, title in TITLES.items():
        file = folder / f"{name}.json"
        if file.is_file():
            content = json.loads(file.read_text())
            sections.append(f"### {title}\n\n{_machine(content)}\n\n{_table(name, content)}")
    return "\n\n".join(sections)


def inserted(document: str, text: str) -> str:
    """The document with `text` between the marks.

    Raises:
        ValueError: the marks are not there, once each and in order.
    """
    if document.count(BEGIN) != 1 or document.count(END) != 1:
        raise ValueError(f"needs one line '{BEGIN}' and one line '{END}'")
    head, _, rest = document.partition(BEGIN)
    if END not in rest:
        raise ValueError(f"'{END}' comes before '{BEGIN}'")
    return f"{head}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}"


def _machine(content: Mapping[str, Any]) -> str:
    """Machine and settings in a line."""
    told = content.get("machine", {})
    told = told if isinstance(told, Mapping) else {"machine": told}
    shown = dict(told) | dict(content.get("settings", {}))
    skipped = ("json", "out", "config_file")
    return "; ".join(
        f"{key} {value}"
        for key, value in shown.items()
        if key not in skipped and value not in ("", None, "None")
    )


def _table(name: str, content: Mapping[str, Any]) -> str:
    if name == "train":
        return train.table(content["cases"])
    if "cases" in content:
        return stream.table(content)
    rows = content.get("rows", content)
    if isinstance(rows, Mapping):
        rows = [{"": key} | _flat(value) for key, value in rows.items() if key != "machine"]
    return rows_table(rows)


def rows_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of any keys as Markdown; what a row does not have stays empty."""
    rows = [_flat(row) for row in rows]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return markdown(columns, [[_cell(row.get(key)) for key in columns] for row in rows])


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Values of nested mappings by their joined keys."""
    if not isinstance(value, Mapping):
        return {prefix or "value": value}
    pieces: Iterable[dict[str, Any]] = (
        _flat(inner, f"{prefix} {key}".strip()) if isinstance(inner, Mapping)
        else {f"{prefix} {key}".strip(): inner}
        for key, inner in value.items()
    )  # fmt: skip
    return {key: found for piece in pieces for key, found in piece.items()}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
