"""Time and memory of each part of a model, a frame at a time (the last column of Tab. A4b).

    python benchmarks/model.py                          # R50, 480x854, 20 tracks
    python benchmarks/model.py --device cuda --json model.json
    python benchmarks/model.py --config-file configs/ovis/DVIS_DAQ_offline_ViTL.yaml

A frame passes the segmenter by itself, which is the latency of a stream and not the throughput
of a recording. What is counted in which row, and the operations, are told by
`tools/analyze_model.py`, whose functions these are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Runs from a plain checkout. The script by its own name: Detectron2 has a package `tools`, too.
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import torch
from analyze_model import analyze, table, write_json

from dvis_daq.config import get_config

CONFIG = ROOT / "configs" / "ovis" / "DVIS_DAQ_online_R50.yaml"


def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    opts = ["MODEL.DEVICE", args.device, "MODEL.WEIGHTS", ""]
    rows = analyze(
        get_config(args.config_file, opts),
        size=(args.height, args.width),
        tracks=args.tracks,
        repeats=args.repeats,
        operations=False,
    )
    print(table(rows))
    if args.json:
        write_json(args.json, rows, args)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", default=CONFIG, metavar="FILE", help="YAML")
    parser.add_argument("--height", type=int, default=480, help="of the frame, pixels")
    parser.add_argument("--width", type=int, default=854)
    parser.add_argument("--tracks", type=int, default=20, help="tracked objects")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="0: as torch finds it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file")
    return parser


if __name__ == "__main__":
    main()
