#!/usr/bin/env python
"""The emergence benchmark: how methods stand up to more events, speed, look-alikes, crowds, length.

Makes synthetic validation videos along five axes (event rate 0 to 0.95, speed 0.5 to 4, chance of
a look-alike 0 to 1, at most 3 to 12 objects, 12 to 400 frames), everything else as in the default
set, scores every model on each, and writes OUTPUT/emergence.png, .json, .csv and .md: AP, AP^ed,
emergence recall and ghost rate against difficulty.

Example:
  two methods trained on synthetic video (tools/compare.py, or make demo):
    python tools/emergence_benchmark.py --output output/emergence --jobs 2 \\
        --model MinVIS configs/synthetic/MinVIS.yaml \\
            output/compare/MinVIS_seed0/model_final.safetensors \\
        --model DVIS-DAQ configs/synthetic/DVIS_DAQ_online.yaml \\
            output/compare/DVIS_DAQ_online_seed0/model_final.safetensors

Models of one name are seeds of one method; the curves then show mean and standard deviation.
What was scored before is not scored again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a plain checkout

import dvis_daq  # noqa: F401  makes detectron2 importable
from dvis_daq.data.synthetic import Recipe, write_dataset
from dvis_daq.evaluation.report import write_json
from dvis_daq.program_errors import one_line_errors
from dvis_daq.workbench.difficulty import AXES, COLUMNS, Setting, as_csv, panels, points, settings
from dvis_daq.workbench.manifest import manifest
from dvis_daq.workbench.models import TrainedModel, add_models, chosen_models, names_of
from dvis_daq.workbench.plots import curves
from dvis_daq.workbench.runs import RunError
from dvis_daq.workbench.tables import cell, markdown


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse_arguments(arguments)
    base = Recipe(val=options.videos, seed=options.seed)
    chosen = list(settings(options.axes, base))
    with one_line_errors(RunError):
        models = chosen_models(options)
        for setting in chosen:
            folder = options.output / "data" / setting.name
            for _ in write_dataset(setting.recipe, folder, force=False):
                pass
        with ThreadPoolExecutor(options.jobs) as pool:
            scored = list(pool.map(lambda model: measure(options, chosen, model), models))
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for model, figures in zip(models, scored, strict=True):
        for setting in chosen:
            found.setdefault((setting.name, model.name), []).append(figures[setting.name])
    write(options, arguments, points(chosen, found), names_of(models))


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_models(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--axes", nargs="+", choices=AXES, default=list(AXES), help="default: all of them"
    )
    parser.add_argument(
        "--videos", type=int, default=20, metavar="N", help="a setting (default 20), fewer if long"
    )
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="of the videos (default 1; training: 0)"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="models at a time")
    options = parser.parse_args(arguments)
    if min(options.videos, options.jobs) < 1:
        parser.error("--videos and --jobs must be positive")
    return options


def measure(
    options: argparse.Namespace, chosen: Sequence[Setting], model: TrainedModel
) -> dict[str, Any]:
    """The figures of one model by setting, from one process."""
    names = tuple(setting.name for setting in chosen)
    custom = [
        {"NAME": name, "TASK": "vis", "JSON": f"{folder}/val.json", "IMAGES": f"{folder}/val"}
        for name in names
        for folder in [options.output / "data" / name]
    ]
    opts = ["DATASETS.CUSTOM", repr(custom), "DATASETS.TEST", repr(names)]
    return model.measure("eval.py --events --workers 1", options.output / "models", opts)


def write(
    options: argparse.Namespace,
    arguments: Sequence[str] | None,
    rows: Sequence[dict[str, Any]],
    methods: Sequence[str],
) -> None:
    """The plot, its data, a table, and what they were made with."""
    facts = manifest(arguments)
    write_json({"points": rows, "manifest": facts}, options.output / "emergence.json")
    options.output.joinpath("emergence.csv").write_text(as_csv(rows), encoding="utf-8")
    curves(panels(rows), options.output / "emergence.png")
    text = f"{as_markdown(rows, methods)}\n{facts['date']}, commit {facts['commit']}: "
    text += f"`{facts['command']}`\n"
    options.output.joinpath("emergence.md").write_text(text, encoding="utf-8")
    print(text)


def as_markdown(rows: Sequence[dict[str, Any]], methods: Sequence[str]) -> str:
    """One line a setting: each figure of every method, percent."""
    header = ["axis", "value", *(f"{column} {name}" for column in COLUMNS for name in methods)]
    lines: dict[tuple[str, float], dict[str, Any]] = {}
    for row in rows:
        lines.setdefault((row["axis"], row["value"]), {})[row["method"]] = row["figures"]
    cells = [
        [axis, f"{value:g}", *(cell(of[name][column]) for column in COLUMNS for name in methods)]
        for (axis, value), of in lines.items()
    ]
    return markdown(header, cells)


if __name__ == "__main__":
    main()
