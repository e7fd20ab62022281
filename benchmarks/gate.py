"""Compares the ratios of benchmark files with their limits; exit status 1 where one is missed.

    python benchmarks/gate.py output/stream.json output/train.json

Ratios and not times: both sides of a ratio ran in turns on the same machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

# (system, figure): (least, most)
LIMITS: dict[tuple[str, str], tuple[float, float]] = {
    ("float32", "cpu_seconds"): (3.0, float("inf")),
    ("float32", "trackers"): (15.0, float("inf")),
    ("float32", "peak_mib"): (2.0, float("inf")),
    ("float32", "iou"): (0.999, 1.0),
    ("float32", "ids"): (1.0, 1.0),
    ("bfloat16", "cpu_seconds"): (4.2, float("inf")),  # 5 is aimed at, and seen on a quiet machine
    ("float32", "training step"): (2.4, float("inf")),  # 3 is aimed at
    ("bfloat16", "training step"): (3.0, float("inf")),
}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", type=Path, nargs="+", help="of stream.py and train.py")
    args = parser.parse_args(argv)
    checked = [row for file in args.files for row in check(json.loads(file.read_text()))]
    for system, figure, value, fits in checked:
        print(f"{'ok    ' if fits else 'MISSED'} {system} {figure}: {value:.4g}")
    if not checked:
        parser.error("no ratio in these files: was `literal` among the --systems?")
    sys.exit(not all(fits for *_, fits in checked))


def check(report: dict[str, Any]) -> Iterator[tuple[str, str, float, bool]]:
    """System, figure, value, and whether it is within its limits."""
    for name, case in report["cases"].items():
        system = case.get("system", name)
        figures = case.get("ratios", {}) | case.get("agreement", {})
        if "ratio" in case:
            figures["training step"] = case["ratio"]
        for figure, value in figures.items():
            if (system, figure) in LIMITS:
                least, most = LIMITS[system, figure]
                yield system, figure, value, least <= value <= most


if __name__ == "__main__":
    main()
