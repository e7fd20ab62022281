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
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

TOOLS = Path(__file__).resolve().parent
CONFIGS = TOOLS.parent / "configs" / "synthetic"

# method -> the one whose weights it starts from
METHODS = {
    "MinVIS": None,
    "DVIS_online": "MinVIS",
    "DVIS_offline": "DVIS_online",
    "DVIS_static_online": "MinVIS",
    "DVIS_DAQ_online": "MinVIS",
    "DVIS_DAQ_offline": "DVIS_DAQ_online",
}
# column -> where it stands in the json of tools/eval.py --events, and whether in percent
FIGURES = {
    "AP": ("AP",),
    "AP50": ("AP50",),
    "AP^ed": ("events", "ap", "ed", "AP"),
    "emergence recall": ("events", "presence", "emergence_recall"),
    "ghost rate": ("events", "presence", "ghost_rate"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse_arguments(arguments)
    tests = {"val": options.data} | dict(options.test)
    runs = [(method, seed) for method in options.methods for seed in range(options.seeds)]
    for method in options.methods:  # in order: a later one may start from an earlier one
        with ThreadPoolExecutor(options.jobs) as pool:
            seeds = [(method, seed) for seed in range(options.seeds)]
            list(pool.map(lambda run: train(options, *run), seeds))
    with ThreadPoolExecutor(options.jobs) as pool:
        jobs = [(method, seed, name) for method, seed in runs for name in tests]
        figures = list(pool.map(lambda job: score(options, *job, tests[job[2]]), jobs))
    rows = summarize(dict(zip(jobs, figures, strict=True)), options.methods, list(tests))
    options.output.joinpath("table.json").write_text(json.dumps(rows, indent=1))
    text = markdown(rows)
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


def train(options: argparse.Namespace, method: str, seed: int) -> None:
    """One training, unless its weights are there."""
    folder = run_folder(options, method, seed)
    if weights(folder).is_file():
        return
    parent = METHODS[method]
    start = str(weights(run_folder(options, parent, seed))) if parent else ""
    command = ["train_net.py", "--config-file", str(CONFIGS / f"{method}.yaml"), "--resume"]
    command += data_sets(options.data, options.data)
    command += ["DATASETS.TEST", "()", "MODEL.WEIGHTS", start]
    call(command + ["SEED", str(seed), "OUTPUT_DIR", str(folder), *options.opts], folder, "train")


def score(
    options: argparse.Namespace, method: str, seed: int, name: str, data: Path
) -> dict[str, Any]:
    """The figures of one model on one set."""
    folder = run_folder(options, method, seed)
    file = folder / f"{name}.json"
    if not file.is_file():
        command = ["eval.py", "--events", "--json", str(file)]
        command += ["--config-file", str(CONFIGS / f"{method}.yaml")]
        command += ["--weights", str(weights(folder)), *data_sets(options.data, data)]
        call(command + ["OUTPUT_DIR", str(folder / name), *options.opts], folder, name)
    return json.loads(file.read_text())


def call(command: list[str], folder: Path, name: str) -> None:
    """Runs a tool with one thread; its output goes to a log file."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with open(log, "w", encoding="utf-8") as file:
        done = subprocess.run(
            [sys.executable, str(TOOLS / command[0]), *command[1:]],
            stdout=file, stderr=subprocess.STDOUT, env=environment, check=False,
        )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"error: {command[0]} failed with {done.returncode}; see {log}")


def run_folder(options: argparse.Namespace, method: str, seed: int) -> Path:
    return options.output / f"{method}_seed{seed}"


def weights(folder: Path) -> Path:
    return folder / "model_final.safetensors"


def data_sets(train: Path, test: Path) -> list[str]:
    """Overrides that name the two sets of the synthetic configurations."""
    parts = {"synthetic_train": train / "train", "synthetic_val": test / "val"}
    custom = [
        {"NAME": name, "TASK": "vis", "JSON": f"{path}.json", "IMAGES": str(path)}
        for name, path in parts.items()
    ]
    return ["DATASETS.CUSTOM", repr(custom)]


def summarize(
    figures: dict[tuple[str, int, str], dict[str, Any]],
    methods: Sequence[str],
    tests: Sequence[str],
) -> list[dict[str, Any]]:
    """One row a method and test set: mean and standard deviation of each figure, in percent."""
    rows = []
    for test in tests:
        for method in methods:
            row: dict[str, Any] = {"test": test, "method": method}
            for column, path in FIGURES.items():
                found = [f for (m, _, t), f in figures.items() if (m, t) == (method, test)]
                values = [100 * _at(one, path) for one in found]
                spread = statistics.stdev(values) if len(values) > 1 else None
                row[column] = {"mean": statistics.mean(values), "std": spread, "values": values}
            rows.append(row)
    return rows


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The table; mean ± standard deviation over the seeds."""
    lines = ["| set | method | " + " | ".join(FIGURES) + " |", "|---" * (2 + len(FIGURES)) + "|"]
    for row in rows:
        cells = [_cell(row[column]) for column in FIGURES]
        lines.append(f"| {row['test']} | {row['method']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(figure: dict[str, Any]) -> str:
    spread = "" if figure["std"] is None else f" ± {figure['std']:.1f}"
    return f"{figure['mean']:.1f}{spread}"


def _at(figures: dict[str, Any], path: Sequence[str]) -> float:
    for name in path:
        figures = figures[name]
    return float(figures)  # type: ignore[arg-type]


def _named_folder(text: str) -> tuple[str, Path]:
    name, _, folder = text.partition("=")
    if not name or not Path(folder, "val.json").is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=DIR with DIR/val.json")
    return name, Path(folder)


if __name__ == "__main__":
    main()
