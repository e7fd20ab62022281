#!/usr/bin/env python
"""Trains methods on one data set, several seeds each, and puts their figures into one table.

A method that starts from another one (a tracker from its segmenter) is trained on that one's
weights of the same seed. What is finished is not done again, so an interrupted comparison goes
on where it stopped.

Examples:
  the quick start's models on synthetic video, three seeds, two trainings at a time:
    python datasets/make_synthetic.py --output datasets/synthetic
    python tools/compare.py --data datasets/synthetic --seeds 3 --jobs 2 --output output/compare
  also on a second validation set:
    python tools/compare.py --data datasets/synthetic --test long=datasets/synthetic_long \\
        --seeds 3 --output output/compare

A data folder has train.json + train/ and val.json + val/, a test folder val.json + val/.
Writes OUTPUT/table.md, OUTPUT/table.json and OUTPUT/<method>_seed<n>/.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a plain checkout

import dvis_daq  # noqa: F401  makes detectron2 importable
from dvis_daq.evaluation.report import write_json
from dvis_daq.program_errors import one_line_errors
from dvis_daq.workbench.manifest import manifest
from dvis_daq.workbench.runs import ROOT, Bench, Run, RunError, finish
from dvis_daq.workbench.tables import FIGURES, cell, figures_of, markdown

CONFIGS = ROOT / "configs" / "synthetic"

# method -> the one whose weights it starts from
METHODS = {
    "MinVIS": None,
    "CTVIS": None,
    "DVIS_online": "MinVIS",
    "DVIS_offline": "DVIS_online",
    "DVIS_static_online": "MinVIS",
    "DVIS_DAQ_online": "MinVIS",
    "DVIS_DAQ_offline": "DVIS_DAQ_online",
}


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse_arguments(arguments)
    tests = {"val": options.data} | dict(options.test)
    bench = Bench(options.output, options.data, tests, options.opts)
    runs = {
        (method, seed): run_of(method, seed)
        for method in options.methods
        for seed in range(options.seeds)
    }
    with one_line_errors(RunError):
        found = finish(bench, list(runs.values()), options.jobs)
    rows = summarize({key: found[run] for key, run in runs.items()}, options.methods, list(tests))
    write_json({"rows": rows, "manifest": manifest(arguments)}, options.output / "table.json")
    text = as_markdown(rows)
    options.output.joinpath("table.md").write_text(text)
    print(text)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--test", type=_named_folder, action="append", default=[], metavar="NAME=DIR"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=["MinVIS", "DVIS_DAQ_online"]
    )
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="default: %(default)s")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="trainings at a time")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="for all runs")
    options = parser.parse_args(arguments)
    for method in options.methods:
        parent = METHODS[method]
        if parent and parent not in options.methods[: options.methods.index(method)]:
            parser.error(f"{method} starts from {parent}: name it before")
    if not (options.data / "train.json").is_file():
        parser.error(f"{options.data / 'train.json'} not found")
    options.output.mkdir(parents=True, exist_ok=True)
    return options


def run_of(method: str, seed: int) -> Run:
    """The training of a method, on that of the one it starts from."""
    parent = METHODS[method]
    start = run_of(parent, seed) if parent else None
    return Run(CONFIGS / f"{method}.yaml", seed, start)


def summarize(
    figures: Mapping[tuple[str, int], Mapping[str, Any]],
    methods: Sequence[str],
    tests: Sequence[str],
) -> list[dict[str, Any]]:
    """One row a method and test set: mean and standard deviation of each figure, in percent."""
    return [
        {"test": test, "method": method}
        | figures_of([found[test] for (name, _), found in figures.items() if name == method])
        for test in tests
        for method in methods
    ]


def as_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table; mean ± standard deviation over the seeds."""
    cells = [
        [row["test"], row["method"], *(cell(row[column]) for column in FIGURES)] for row in rows
    ]
    return markdown(["set", "method", *FIGURES], cells)


def _named_folder(text: str) -> tuple[str, Path]:
    name, _, folder = text.partition("=")
    if not name or not Path(folder, "val.json").is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=DIR with DIR/val.json")
    return name, Path(folder)


if __name__ == "__main__":
    main()
