#!/usr/bin/env python
"""Scores results against ground truth; with a model, makes the results first.

Examples:
  results.json of any program, figures on the console and in out.json:
    python tools/eval.py --task vis --gt gt.json --results results.json --json out.json
  with AP^ed, event recalls, latency, ghost frames and id switches:
    python tools/eval.py --task vis --gt gt.json --results results.json --events
  some videos only, by id or from a file with ids:
    python tools/eval.py --task vis --gt gt.json --results results.json --videos 3,17,20
  YouTube-VIS 2022: two parts and the mean of their APs:
    python tools/eval.py --task vis --gt gt.json --results results.json --long-videos long.txt
  panoptic, semantic (--gt: a list of videos) and object masks:
    python tools/eval.py --task vps --gt panoptic_gt.json --gt-root panomasksRGB \\
        --results pred.json --results-root pan_pred --json out.json
    python tools/eval.py --task vss --gt val.txt --gt-root data --results-root predictions
    python tools/eval.py --task vos --gt-root Annotations --results-root predictions
  a file for the server of the benchmark, checked as the server does:
    python tools/eval.py --task vis --gt valid.json --results results.json --submission out.zip
  why emerging objects were missed, from a trace that the model wrote:
    python tools/eval.py --task vis --gt gt.json --results results.json --explain trace.jsonl
  a model on DATASETS.TEST of its configuration:
    python tools/eval.py --config-file configs/ovis/DVIS_DAQ_online_R50.yaml \\
        --weights daq_ovis_r50.pth --num-gpus 8 --json out.json
  thresholds, all combinations on one pass of the segmenter:
    python tools/eval.py --config-file FILE --weights FILE --json sweep.json \\
        --sweep MODEL.LIFECYCLE.SCORE=0.05,0.1,0.2 MODEL.LIFECYCLE.PATIENCE=1,8

--json gets all figures by name, fractions from 0 to 1, null where undefined.
Exit status: 0 scored, 1 input that cannot be scored, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a plain checkout

import dvis_daq  # noqa: F401  makes detectron2 importable
from dvis_daq.evaluation.files import TASKS, ResultFiles
from dvis_daq.evaluation.report import table, write_json
from dvis_daq.evaluation.submission import pack
from dvis_daq.metrics.reading import read_ids


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    files = parser.add_argument_group("score files")
    files.add_argument("--task", choices=TASKS, default="vis", help="default: %(default)s")
    files.add_argument(
        "--gt", metavar="FILE", help="json of the data set; vss, vos: list of videos"
    )
    files.add_argument("--gt-root", metavar="DIR", help="vps, vss, vos: masks of the data set")
    files.add_argument("--results", metavar="JSON", help="results.json; vps: pred.json")
    files.add_argument("--results-root", metavar="DIR", help="vps, vss, vos: <video>/<frame>.png")
    files.add_argument("--submission", metavar="ZIP", help="check the results and pack them")
    model = parser.add_argument_group("run a model first")
    model.add_argument("--config-file", metavar="YAML")
    model.add_argument("--weights", metavar="FILE", help="default: MODEL.WEIGHTS of the config")
    model.add_argument("--num-gpus", type=int, default=1, metavar="N", help="default: 1")
    model.add_argument("opts", nargs="*", metavar="KEY VALUE", help="change the configuration")
    parser.add_argument("--json", metavar="JSON", help="write all figures to this file")
    parser.add_argument("--videos", metavar="IDS", help="only these: 3,17,20 or a file with ids")
    parser.add_argument(
        "--long-videos", metavar="IDS", help="score these and the others apart; mean of both APs"
    )
    parser.add_argument(
        "--events", action="store_true", help="figures of objects that emerge and disappear"
    )
    parser.add_argument(
        "--explain",
        nargs="?",
        const="",
        metavar="TRACE",
        help="why emergences were missed; with --results, from the trace.jsonl of the run",
    )
    model.add_argument(
        "--sweep",
        nargs="+",
        default=[],
        metavar="KEY=VALUE,...",
        help="score an online model under all combinations of these settings",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=min(4, os.cpu_count() or 1),
        metavar="N",
        help="processes that compare masks, for large files (default: %(default)s)",
    )
    parser.set_defaults(num_machines=1, machine_rank=0, dist_url="auto")  # for engine.launch
    options = parser.parse_args(arguments)
    _check_usage(parser, options)
    return options


def _check_usage(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    by_files = bool(options.results or options.results_root)
    if by_files == bool(options.config_file) or (by_files and (options.weights or options.opts)):
        parser.error("give either --gt and --results, or --config-file (and --weights)")
    if options.task != "vis" and (options.long_videos or options.explain is not None):
        parser.error("--long-videos and --explain are for --task vis")
    if options.sweep and (by_files or options.explain is not None or options.submission):
        parser.error(
            "--sweep needs --config-file, and goes with neither --explain nor --submission"
        )
    if by_files and options.explain == "":
        parser.error("--explain needs the trace.jsonl that belongs to --results")
    if by_files:
        lacking = [name for name in TASKS[options.task] if getattr(options, name) is None]
        if lacking:
            names = ", ".join("--" + name.replace("_", "-") for name in lacking)
            parser.error(f"--task {options.task} needs {names}")


def main(arguments: Sequence[str] | None = None) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    options = parse_arguments(arguments)
    try:
        if options.sweep:
            of_sweep(options)
            return
        figures = of_model(options) if options.config_file else of_files(options)
        if options.json:  # before anything is printed: the reader of a pipe may leave early
            write_json(next(iter(figures.values())) if len(figures) == 1 else figures, options.json)
        for name, found in figures.items():
            print(f"{name}\n{table(found)}".lstrip())
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from None


def of_files(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Scores the given files, or packs them."""
    names = ("gt", "gt_root", "results", "results_root")
    given = (getattr(options, name) for name in names)
    files = ResultFiles(options.task, *(None if one is None else Path(one) for one in given))
    return {"": score(options, files)} if deliver(options, files) else {}


def of_model(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Runs the model on its test data, then scores the results as if they came from anywhere."""
    from dvis_daq.config import get_config  # torch, only where it is needed
    from dvis_daq.data import datasets
    from dvis_daq.data.loader import register_datasets
    from dvis_daq.engine.launch import run

    if options.weights:
        options.opts = [*options.opts, "MODEL.WEIGHTS", options.weights]
    if options.explain is not None:
        options.opts = [*options.opts, "TEST.TRACE", "True"]
    cfg = get_config(options.config_file, options.opts)
    run(infer, options, device=cfg.MODEL.DEVICE)
    register_datasets(cfg)
    figures = {}
    for name in cfg.DATASETS.TEST:
        folder = Path(cfg.OUTPUT_DIR, "inference", name)
        files = ResultFiles.of_run(datasets.metadata(name), folder)
        print(f"{name}: {files.results or files.results_root}")
        if deliver(options, files):
            if options.explain is not None:
                options.explain = folder / "trace.jsonl"
            figures[name] = score(options, files)
    return figures


def of_sweep(options: argparse.Namespace) -> None:
    """Runs the model once for all settings, and compares their figures."""
    from dvis_daq.data import datasets
    from dvis_daq.data.loader import register_datasets
    from dvis_daq.engine.launch import run
    from dvis_daq.workbench.sweep import as_markdown, configs, infer

    if options.weights:
        options.opts = [*options.opts, "MODEL.WEIGHTS", options.weights]
    options.events = True
    made = configs(options)
    first = next(iter(made.values()))
    run(infer, options, device=first.MODEL.DEVICE)
    register_datasets(first)
    figures: dict[str, dict[str, Any]] = {}
    for name in first.DATASETS.TEST:
        for setting, cfg in made.items():
            folder = Path(cfg.OUTPUT_DIR, "inference", name)
            files = ResultFiles.of_run(datasets.metadata(name), folder)
            figures.setdefault(name, {})[setting] = score(options, files)
    if options.json:
        write_json(figures, options.json)
    for name, found in figures.items():
        print(f"{name}\n{as_markdown(found)}")


def deliver(options: argparse.Namespace, files: ResultFiles) -> bool:
    """Writes --submission; whether there are labels to score against, too."""
    if not options.submission:
        return not options.config_file or files.has_labels()
    count = pack(files, options.submission, workers=options.workers)
    print(f"{options.submission}: {count} files, ready for the server")
    return files.has_labels()


def infer(options: argparse.Namespace) -> None:
    """One process of the run: writes results.json of each data set."""
    import dvis_daq.recipes  # noqa: F401  registers the methods
    from dvis_daq.config import ConfigError, get_config
    from dvis_daq.engine.evaluate import evaluate
    from dvis_daq.engine.setup import setup
    from dvis_daq.engine.trained import trained_model

    cfg = get_config(options.config_file, options.opts)
    if not cfg.MODEL.WEIGHTS:
        raise ConfigError("there are no weights to evaluate; give --weights")
    setup(cfg, options)
    model, _ = trained_model(cfg)
    evaluate(cfg, model)


def score(options: argparse.Namespace, files: ResultFiles) -> dict[str, Any]:
    """Figures of results that lie on disk."""
    return files.score(
        videos=None if options.videos is None else read_ids(options.videos),
        long_videos=None if options.long_videos is None else read_ids(options.long_videos),
        events=options.events,
        trace_file=options.explain,
        workers=options.workers,
    )


if __name__ == "__main__":
    main()
