#!/usr/bin/env python
"""Figures of the paper for any checkpoints and data: Fig. 1 (left), Tab. A2, Tab. A3.

  fig1  recall of emerging and of disappearing objects, one point a model
  A2    all objects against those that emerge or disappear: AP, or VPQ for MODEL.TASK vps
  A3    feature transition gap

Writes OUTPUT/<figure>.md, .json, and .png for fig1. Definitions: docs/evaluation.md.

Example:
  python tools/paper.py fig1 --output output/paper \\
      --model DVIS++ configs/ovis/DVIS_online_R50.yaml dvis_ovis_r50.pth \\
      --model DVIS-DAQ configs/ovis/DVIS_DAQ_online_R50.yaml daq_ovis_r50.pth \\
      --opts DATASETS.TEST "('ovis_rebuttal_val',)"

One data set at a time, with labels. What was measured before is not measured again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a plain checkout

import dvis_daq  # noqa: F401  makes detectron2 importable
from dvis_daq.evaluation.report import write_json
from dvis_daq.program_errors import one_line_errors
from dvis_daq.workbench.manifest import manifest
from dvis_daq.workbench.models import add_models, chosen_models, names_of
from dvis_daq.workbench.plots import scatter
from dvis_daq.workbench.runs import RunError
from dvis_daq.workbench.tables import cell, figures_of, markdown

Columns = Mapping[str, tuple[str, ...]]
Rows = Mapping[str, Mapping[str, Mapping[str, Any]]]

RECALLS: Columns = {
    "emerging": ("events", "recall_delta1", "emerging_recall"),
    "disappearing": ("events", "recall_delta1", "disappearing_recall"),
    "emerging, assigned track": ("events", "presence", "emergence_recall"),
    "disappearing, assigned track": ("events", "presence", "disappearance_recall"),
}
INSTANCES: Columns = {
    "AP all": ("AP",),
    "AP ed": ("events", "ap", "ed", "AP"),
    "AP ed, videos": ("events", "ap_videos", "0.4", "AP"),
}
PANOPTIC: Columns = {"VPQ all": ("VPQ",), "VPQ ed": ("events", "VPQ_ed")}
GAPS: Columns = {
    f"{name} {kind}": (kind, name)
    for kind in ("all", "emergence", "disappearance")
    for name in ("CS", "NED")
}


class Figure(NamedTuple):
    """How one of the paper's figures is made."""

    tool: str
    columns: Callable[[Mapping[str, Any]], Columns]  # of the json of one model
    note: str
    scale: float = 1.0  # `figures_of` gives percent
    plot: bool = False


FIGURES = {
    "fig1": Figure(
        "eval.py --events",
        lambda _: RECALLS,
        "Recall in percent, IoU 0.5, up to one frame late or early; by any prediction of the "
        "class, and by the track that is assigned to the object.",
        plot=True,
    ),
    "A2": Figure(
        "eval.py --events",
        lambda found: INSTANCES if "AP" in found else PANOPTIC,
        "Percent. ed: the other objects are ignored; videos: those in which at least 40 % of the "
        "objects are ed.",
    ),
    "A3": Figure(
        "transition_gap.py",
        lambda _: GAPS,
        "CS: cosine similarity, larger is closer; NED: normalised distance, smaller is closer; "
        "each the mean over events.",
        scale=0.01,
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse_arguments(arguments)
    how = FIGURES[options.figure]
    with one_line_errors(RunError):
        models = chosen_models(options)
        folder = options.output / how.tool.split(".")[0]
        found = {model: model.measure(how.tool, folder, options.opts) for model in models}
    found = {model: _of_one_set(figures) for model, figures in found.items()}
    columns = how.columns(next(iter(found.values())))
    rows = {
        name: figures_of([f for model, f in found.items() if model.name == name], columns)
        for name in names_of(models)
    }
    facts = manifest(arguments)
    content = {"note": how.note, "rows": rows, "manifest": facts}
    write_json(content, options.output / f"{options.figure}.json")
    text = f"{as_markdown(rows, how.scale)}\n{how.note}\n{facts['date']}, {facts['commit']}: "
    text += f"`{facts['command']}`\n"
    options.output.joinpath(f"{options.figure}.md").write_text(text, encoding="utf-8")
    if how.plot:
        points = {name: (row["emerging"], row["disappearing"]) for name, row in rows.items()}
        axes = ("recall of emerging objects, %", "recall of disappearing objects, %")
        scatter(points, axes=axes, file=options.output / f"{options.figure}.png")
    print(text)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figure", choices=FIGURES)
    add_models(parser)
    parser.add_argument("--output", type=Path, default=Path("output/paper"), metavar="DIR")
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="for all models"
    )
    return parser.parse_args(arguments)


def as_markdown(rows: Rows, scale: float) -> str:
    """One row a model; mean ± standard deviation over its seeds."""
    columns = list(next(iter(rows.values())))
    cells = [
        [
            name,
            *(
                cell(_scaled(row[column], scale), digits=1 if scale == 1 else 3)
                for column in columns
            ),
        ]  # fmt: skip
        for name, row in rows.items()
    ]
    return markdown(["model", *columns], cells)


def _scaled(figure: Mapping[str, Any], scale: float) -> dict[str, Any]:
    return {key: None if figure[key] is None else figure[key] * scale for key in ("mean", "std")}


def _of_one_set(figures: Mapping[str, Any]) -> Mapping[str, Any]:
    """`tools/transition_gap.py` names the data set."""
    return next(iter(figures["figures"].values())) if "definition" in figures else figures


if __name__ == "__main__":
    main()
