#!/usr/bin/env python
"""Fills a table of the paper's ablations (configs/ablations/tables.yaml) on synthetic video.

Makes the data, trains what the rows share once a seed, trains and scores each row, and writes
OUTPUT/TABLE.md and OUTPUT/TABLE.json: mean and spread over the seeds, the difference to the row
above, the paper's figure, and what the table was made with. What is finished is not done again,
so an interrupted table goes on where it stopped; tables share what they have in common.

Examples:
  what the main ablation costs:
    python tools/ablate.py 3a --seeds 3 --jobs 2 --dry-run
  run it, the rows with a quarter of the iterations in their configurations:
    python tools/ablate.py 3a --seeds 3 --jobs 2
  with all of them; about an hour on two cores:
    python tools/ablate.py 3a --seeds 3 --jobs 2 --budget 1 --output output/ablations_long
  a look in some minutes, one seed, a tenth of the iterations, half of the videos:
    python tools/ablate.py 3a --quick --jobs 2
  two rows, on your own data (train.json + train/, val.json + val/):
    python tools/ablate.py 3d --rows One Random --data datasets/mine
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a plain checkout

import dvis_daq  # noqa: F401  makes detectron2 importable
from dvis_daq.data.synthetic import Recipe, write_dataset
from dvis_daq.evaluation.report import write_json
from dvis_daq.program_errors import one_line_errors
from dvis_daq.workbench.ablations import Table, as_markdown, read_tables, results
from dvis_daq.workbench.manifest import manifest
from dvis_daq.workbench.runs import ROOT, Bench, Run, RunError, finish, in_order
from dvis_daq.workbench.tables import cell, figures_of

TABLES = ROOT / "configs" / "ablations" / "tables.yaml"
FULL = {"seeds": 3, "budget": 0.25, "base_budget": 1.0, "output": Path("output/ablations")}
QUICK = {"seeds": 1, "budget": 0.1, "base_budget": 0.4, "output": Path("output/ablations_quick")}


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse_arguments(arguments)
    with one_line_errors(RunError):
        table = read_tables(TABLES)[options.table]
        table = table.choose(options.rows) if options.rows else table
        bench = Bench(options.output, options.data, {"val": options.data}, options.opts)
        runs = plan(options, table)
        print(cost(bench, list(runs.values()), options.jobs))
        if options.dry_run:
            return
        make_data(options)
        found = finish(bench, list(in_order(runs.values())), options.jobs)
        write(options, arguments, table, bench, runs, found)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", choices=read_tables(TABLES), metavar="TABLE", help="3a, 3b, ...")
    parser.add_argument("--seeds", type=int, metavar="N", help="default: 3, quick: 1")
    parser.add_argument(
        "--budget", type=float, metavar="SHARE", help="of the rows' iterations (0.25, quick: 0.1)"
    )
    parser.add_argument(
        "--base-budget",
        type=float,
        metavar="SHARE",
        help="the same for the segmenter (1, quick: 0.4)",
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes at a time")
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="only these rows")
    parser.add_argument("--quick", action="store_true", help="a small version of everything")
    parser.add_argument("--dry-run", action="store_true", help="tell the cost and stop")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="default: synthetic video, made in OUTPUT/data"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: output/ablations")
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="for all runs"
    )
    options = parser.parse_args(arguments)
    for name, value in (QUICK if options.quick else FULL).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    options.own_data = options.data is not None
    options.data = options.data or options.output / "data"
    if options.own_data and not (options.data / "train.json").is_file():
        parser.error(f"{options.data / 'train.json'} not found")
    if min(options.seeds, options.jobs, options.budget, options.base_budget) <= 0:
        parser.error("--seeds, --jobs and the budgets must be positive")
    return options


def plan(options: argparse.Namespace, table: Table) -> dict[tuple[str, int], Run]:
    """The run of each row and seed."""
    share = {"share": options.budget, "base_share": options.base_budget}
    return {
        (row.name, seed): table.run(row, seed, **share)
        for seed in range(options.seeds)  # a whole seed first: of use if there is no time for more
        for row in table.rows
    }


def cost(bench: Bench, runs: Sequence[Run], jobs: int) -> str:
    """What is to be done and how long it takes, as text."""
    work = {run: bench.estimate(run) for run in in_order(runs)}
    lines = [
        f"{run.name:<40} {run.iterations():>6} iterations  "
        + (f"{seconds / 60:5.1f} CPU min" if seconds else "  done")
        for run, seconds in work.items()
    ]
    total = sum(work.values()) / 60
    wall = math.ceil(total / jobs)
    lines.append(f"{total:.0f} CPU minutes are left, about {wall} minutes with {jobs} jobs")
    return "\n".join(lines)


def make_data(options: argparse.Namespace) -> None:
    """The default set of `datasets/make_synthetic.py`, half as many videos for --quick."""
    if options.own_data:
        return
    recipe = Recipe(train=60, val=30) if options.quick else Recipe()
    for _ in write_dataset(recipe, options.data, force=False):
        pass


def write(
    options: argparse.Namespace,
    arguments: Sequence[str] | None,
    table: Table,
    bench: Bench,
    runs: dict[tuple[str, int], Run],
    found: dict[Run, dict[str, Any]],
) -> None:
    """Table, manifest and costs as Markdown and json, and on the console."""
    seeds = list(range(options.seeds))
    rows = results(table, {key: found[run]["val"] for key, run in runs.items()}, seeds)
    facts = manifest(arguments) | {
        "seeds": seeds,
        "iterations": {run.config.stem: run.iterations() for run in in_order(runs.values())},
        "cpu_seconds": {run.name: bench.cost(run) for run in in_order(runs.values())},
    }
    segmenters = [runs[table.rows[0].name, seed].chain()[0] for seed in seeds]
    alone = figures_of([found[run]["val"] for run in segmenters])
    content = {"table": table.key, "title": table.title, "rows": rows, "segmenter": alone}
    write_json(content | {"manifest": facts}, options.output / f"{table.key}.json")
    total = sum(sum(parts.values()) for parts in facts["cpu_seconds"].values())
    text = (
        f"{table.title} (Tab. {table.key})\n\n{as_markdown(rows)}\n"
        f"The segmenter with naive association: AP {cell(alone['AP'])}.\n"
        f"{facts['date']}, commit {facts['commit']}, seeds {', '.join(map(str, seeds))}, "
        f"{total / 60:.0f} CPU minutes: `{facts['command']}`\n"
    )
    options.output.joinpath(f"{table.key}.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
