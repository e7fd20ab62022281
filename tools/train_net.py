#!/usr/bin/env python
"""Trains a model, or evaluates one with --eval-only."""

import argparse
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a plain checkout

import dvis_daq  # noqa: F401, I001  makes detectron2 importable

# isort: split
from detectron2.config import CfgNode
from detectron2.engine import default_argument_parser
from detectron2.utils import comm

import dvis_daq.recipes  # noqa: F401  registers the methods
from dvis_daq.config import ConfigError, get_config
from dvis_daq.data.loader import check_batch, register_datasets
from dvis_daq.engine.dry_run import dry_run
from dvis_daq.engine.errors import Interrupted, TrainingError
from dvis_daq.engine.evaluate import evaluate
from dvis_daq.engine.export import export_weights
from dvis_daq.engine.launch import check_processes, restarted, run
from dvis_daq.engine.manifest import with_seed
from dvis_daq.engine.replay import replay
from dvis_daq.engine.setup import setup
from dvis_daq.engine.trained import trained_model
from dvis_daq.engine.trainer import Trainer
from dvis_daq.program_errors import one_line_errors

EXAMPLES = """
examples:
  python tools/train_net.py --config-file configs/ovis/DVIS_DAQ_online_R50.yaml --num-gpus 8
  python tools/train_net.py --config-file FILE --dry-run        # data, weights, memory, disk
  python tools/train_net.py --config-file FILE --resume         # go on after an interruption
  python tools/train_net.py --config-file FILE --eval-only MODEL.WEIGHTS output/model_final.pth
  python tools/train_net.py --config-file FILE SOLVER.MAX_ITER 1000 OUTPUT_DIR output/short
  torchrun --nnodes 2 --nproc-per-node 8 ... tools/train_net.py --config-file FILE

KEY VALUE pairs change the configuration; dvis_daq/config.py explains every key. OUTPUT_DIR gets
config.yaml, log.txt, metrics.json, TensorBoard events, checkpoints for --resume, and at the end
model_final.safetensors. One process uses one GPU, or the CPU with MODEL.DEVICE cpu.
"""


def main(args: argparse.Namespace) -> None:
    """One process of the run."""
    cfg = get_config(args.config_file, args.opts)
    with one_line_errors():
        resume = args.resume or restarted()
        cfg = with_seed(cfg, resume=resume)
        setup(cfg, args)
        if args.eval_only:
            evaluate_weights(cfg, trust=args.trust_checkpoint)
            return
        trainer = Trainer(cfg)
        trainer.prepare(resume=resume, trust=args.trust_checkpoint)
    try:
        trainer.train()
    except TrainingError as error:
        raise SystemExit(f"error: {error}") from None
    except Interrupted as stop:
        say_goodbye(stop)
    if comm.is_main_process():
        target = Path(cfg.OUTPUT_DIR, "model_final.safetensors")
        export_weights(cfg, trainer.checkpointer.model, target)


def say_goodbye(stop: Interrupted) -> NoReturn:
    """Says how to go on, and ends with the status that a shell gives to this signal."""
    if comm.is_main_process():
        words = [arg for arg in sys.argv[1:] if arg != "--resume"]
        command = shlex.join(["python", sys.argv[0], "--resume", *words])
        name = signal.Signals(stop.signal_number).name
        print(f"stopped by {name}; saved {stop.saved}\nto go on: {command}", file=sys.stderr)
    sys.exit(128 + stop.signal_number)


def evaluate_weights(cfg: CfgNode, *, trust: bool = False) -> None:
    """Figures of MODEL.WEIGHTS on DATASETS.TEST."""
    if not cfg.MODEL.WEIGHTS:
        raise ConfigError("MODEL.WEIGHTS is empty; --eval-only needs the weights to evaluate")
    model, _ = trained_model(cfg, trust=trust)
    evaluate(cfg, model)


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = default_argument_parser(epilog=EXAMPLES)
    parser.description = __doc__
    parser.set_defaults(dist_url="auto")
    parser.add_argument(
        "--trust-checkpoint",
        action="store_true",
        help="execute whatever MODEL.WEIGHTS holds: only for files of a source that you trust",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="look for data and weights, say what the training takes, and end",
    )
    parser.add_argument(
        "--replay",
        metavar="FILE",
        help="repeat a training step from the dump in OUTPUT_DIR/non_finite and say where it fails",
    )
    args = parser.parse_args(argv)
    if not args.config_file:
        parser.error("--config-file is required, e.g. configs/synthetic/MinVIS.yaml")
    return args


def cli(argv: Sequence[str]) -> None:
    """Checks the configuration once, then starts the processes."""
    args = parse_args(argv)
    with one_line_errors():
        cfg = get_config(args.config_file, args.opts)
        processes = max(args.num_gpus, 1) * args.num_machines
        if args.dry_run:
            for line in dry_run(cfg, processes=processes, resume=args.resume):
                print(line, flush=True)
            return
        if args.replay:
            print(replay(cfg, Path(args.replay)))
            return
        check_processes(args.num_gpus, cfg.MODEL.DEVICE)
        register_datasets(cfg)  # an error of the data sets is said once, not by every process
        if not args.eval_only:
            check_batch(cfg, processes)
    run(main, args, device=cfg.MODEL.DEVICE)


if __name__ == "__main__":
    cli(sys.argv[1:])
