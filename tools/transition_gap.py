#!/usr/bin/env python
"""Measures the feature transition gap of an online model (Tab. A3 of the paper).

Examples:
  on DATASETS.TEST of its configuration:
    python tools/transition_gap.py --config-file configs/ovis/DVIS_DAQ_online_R50.yaml \\
        --weights daq_ovis_r50.pth DATASETS.TEST "('ovis_rebuttal_val',)" --json gap.json

The data must be labelled. The definition stands in the output. TEST.TRANSITION_GAP True measures
it in every evaluation of a training (TEST.EVAL_PERIOD) and logs it beside the other figures.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a plain checkout

import dvis_daq  # noqa: F401, I001  makes detectron2 importable

# isort: split
from detectron2.utils import comm

import dvis_daq.recipes  # noqa: F401  registers the methods
from dvis_daq.config import ConfigError, get_config
from dvis_daq.engine.launch import run
from dvis_daq.engine.setup import setup
from dvis_daq.engine.trained import trained_model
from dvis_daq.engine.transitions import measure_transitions
from dvis_daq.evaluation.report import write_json
from dvis_daq.evaluation.transitions import DEFINITION, text
from dvis_daq.program_errors import one_line_errors


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse_arguments(arguments)
    with one_line_errors():
        cfg = get_config(options.config_file, options.opts)
        run(measure, options, device=cfg.MODEL.DEVICE)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, metavar="YAML")
    parser.add_argument("--weights", metavar="FILE", help="default: MODEL.WEIGHTS of the config")
    parser.add_argument("--json", metavar="JSON", help="write definition and figures to this file")
    parser.add_argument("--num-gpus", type=int, default=1, metavar="N", help="default: 1")
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="change the configuration")
    parser.set_defaults(num_machines=1, machine_rank=0, dist_url="auto")  # for engine.launch
    options = parser.parse_intermixed_args(arguments)
    if options.weights:
        options.opts = [*options.opts, "MODEL.WEIGHTS", options.weights]
    return options


def measure(options: argparse.Namespace) -> None:
    """One process of the run."""
    cfg = get_config(options.config_file, options.opts)
    if not cfg.MODEL.WEIGHTS:
        raise ConfigError("there are no weights to measure; give --weights")
    setup(cfg, options)
    model, _ = trained_model(cfg)
    figures = {name: measure_transitions(cfg, model, name) for name in cfg.DATASETS.TEST}
    if not comm.is_main_process():
        return
    if options.json:
        write_json({"definition": DEFINITION, "figures": figures}, options.json)
    print("\n".join(textwrap.wrap(DEFINITION, 100)))
    for name, found in figures.items():
        print(f"\n{name}\n{text(found)}")


if __name__ == "__main__":
    main()
