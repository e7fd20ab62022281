"""Time, memory and share of the limit of each part of a model, a frame at a time (Tab. A4b).

    python benchmarks/model.py                          # R50, 480x854, 20 tracks
    python benchmarks/model.py --device cuda --json model.json
    python benchmarks/model.py --config-file configs/ovis/DVIS_DAQ_offline_ViTL.yaml

A frame passes the segmenter by itself, which is the latency of a stream and not the throughput
of a recording. What is counted in which row, and the operations, are told by
`tools/analyze_model.py`, whose functions these are. The limit of a part is the time of its
operations at the rate of a large matrix product, measured before and after; its share is how
much of the time that would be. All in float32.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Runs from a plain checkout. The script by its own name: Detectron2 has a package `tools`, too.
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import torch
from analyze_model import Row, analyze, machine, table

from dvis_daq.config import get_config

CONFIG = ROOT / "configs" / "ovis" / "DVIS_DAQ_online_R50.yaml"


def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    opts = ["MODEL.DEVICE", args.device, "MODEL.WEIGHTS", ""]
    rate = product_rate(args.device)
    rows = analyze(
        get_config(args.config_file, opts),
        size=(args.height, args.width),
        tracks=args.tracks,
        repeats=args.repeats,
    )
    rate = max(rate, product_rate(args.device))
    print(table(rows))
    print(f"\nlimit: {rate / 1e9:.0f} G multiplications with addition a second")
    shares = [with_limit(row, rate) for row in rows]
    for row in shares:
        print(f"{row['part']:14s} {row['limit_ms']:8.1f} ms, {row['share_of_limit']:.0%}")
    if args.json:
        settings = {name: str(value) for name, value in vars(args).items()}
        settings["limit"] = f"{rate / 1e9:.0f} G multiplications with addition a second"
        args.json.parent.mkdir(parents=True, exist_ok=True)
        content = {"machine": machine(), "settings": settings, "rows": shares}
        args.json.write_text(json.dumps(content, indent=2) + "\n")


def product_rate(device: str, size: int = 2048, repeats: int = 5) -> float:
    """Multiplications with addition a second in a product of two square matrices."""
    matrix = torch.randn(size, size, device=device)
    best = float("inf")
    for _ in range(repeats + 1):
        start = time.perf_counter()
        matrix @ matrix
        if device != "cpu":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return size**3 / best


def with_limit(row: Row, rate: float) -> dict[str, object]:
    """The row, with the milliseconds of its operations at `rate`, and their share of its time."""
    assert row.operations is not None and row.milliseconds is not None
    limit = 1000 * row.operations / rate
    values = {key: value for key, value in asdict(row).items() if key != "operators"}
    return values | {"limit_ms": limit, "share_of_limit": limit / row.milliseconds}


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
