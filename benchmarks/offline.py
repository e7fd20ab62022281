"""Peak memory and time of an offline model against the length of the video, in both modes.

    python benchmarks/offline.py --device cuda                  # R50, 480x854, all rows live
    python benchmarks/offline.py --frames 50 100 --config-file configs/synthetic/DVIS_offline.yaml

`recompute` runs the segmenter a second time for the mask features, `keep` lets them wait in main
memory (TEST.KEEP_FEATURES). Weights are random, every frame is the same noise. DVIS++ is the
default because each of its rows lives through the video: its length alone makes the difference.
Each row of the table is a process of its own; main memory is what `predict` adds to it at its
peak, the memory of a GPU is all that is allocated, weights included.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # runs from a plain checkout

import dvis_daq.recipes  # noqa: F401 isort: skip  registers the models, finds detectron2

import torch
from detectron2.modeling import build_model

from dvis_daq.config import get_config

CONFIG = ROOT / "configs" / "ovis" / "DVIS_offline_R50.yaml"
MODES = ("recompute", "keep")
MIB = 2**20


def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    spawn = multiprocessing.get_context("spawn")
    rows = []
    print(f"{'frames':>7} {'mode':>10} {'GPU MiB':>9} {'host MiB':>9} {'ms/frame':>9}")
    for frames in args.frames:
        for mode in MODES:
            with spawn.Pool(1) as pool:
                row = pool.apply(measure, (args, frames, mode))
            gpu = "-" if row["gpu_mib"] is None else f"{row['gpu_mib']:.0f}"
            print(f"{frames:>7} {mode:>10} {gpu:>9} {row['host_mib']:>9.0f} {row['ms']:>9.1f}")
            rows.append(row)
    if args.json:
        settings = {name: str(value) for name, value in vars(args).items()}
        versions = {"torch": torch.__version__, "python": sys.version.split()[0]}
        args.json.write_text(json.dumps({"settings": settings, **versions, "rows": rows}, indent=1))


def measure(args: argparse.Namespace, frames: int, mode: str) -> dict[str, Any]:
    """One video through one model."""
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads or torch.get_num_threads())
    opts = ["MODEL.DEVICE", args.device, "MODEL.WEIGHTS", "", "TEST.KEEP_FEATURES", mode == "keep"]
    model = build_model(get_config(args.config_file, opts)).eval()
    image = torch.randint(256, (1, 3, args.height, args.width), dtype=torch.uint8)
    model.predict(image)  # lazy allocations
    on_gpu = model.device.type != "cpu"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    before, start = _host_peak(), time.perf_counter()
    model.predict(image.expand(frames, -1, -1, -1))
    seconds = time.perf_counter() - start
    return {
        "frames": frames,
        "mode": mode,
        "gpu_mib": torch.cuda.max_memory_allocated() / MIB if on_gpu else None,
        "host_mib": _host_peak() - before,
        "ms": 1000 * seconds / frames,
    }


def _host_peak() -> float:
    """MiB, the largest so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", default=CONFIG, metavar="FILE", help="an offline model")
    parser.add_argument("--frames", type=int, nargs="+", default=[25, 50, 100, 200])
    parser.add_argument("--height", type=int, default=480, help="of the frame, pixels")
    parser.add_argument("--width", type=int, default=854)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="0: as torch finds it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file")
    return parser


if __name__ == "__main__":
    main()
