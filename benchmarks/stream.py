"""A whole video, from JPEG files to run lengths: this package beside the literal implementation.

    python benchmarks/stream.py                                     # R50, 480x854, 20 tracks
    python benchmarks/stream.py --frames 5 --rounds 1 --threads 1   # a quick look
    python benchmarks/stream.py --systems float32 --lengths 30 60 120 --json stream.json
    python benchmarks/stream.py --device cuda --systems float32 float16 float16:compiled

All systems have the same random weights. Each run is a process of its own, and the systems take
turns, so that what else the machine does hits them alike: read the ratios. `cpu` is the time of
the process, which waiting for a core does not lengthen. Tracks are born in the first frame, from
the best candidates, and live to the end by their patience: random weights cannot tell who is new,
so the threshold of the later frames is out of reach and the number of tracks what was asked for.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # runs from a plain checkout

from benchmarks.agreement import agreement
from benchmarks.runs import Run, calibrate, machine, measure, write_frames

SYSTEMS = ("literal", "float32", "bfloat16")


def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        rows, results = _measure_all(args, Path(folder))
    summary = summarise(rows, results)
    print(table(summary))
    if args.json:
        settings = {name: str(value) for name, value in vars(args).items()}
        report = {"machine": machine(args.device), "settings": settings}
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(report | summary | {"runs": rows}, indent=1) + "\n")


def _measure_all(
    args: argparse.Namespace, folder: Path
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A row for each run, and the results of the last run of each system."""
    size = (args.height, args.width)
    lengths = args.lengths or [args.frames]
    write_frames(folder, max(lengths), size, args.seed)
    base = Run("float32", folder, lengths[0], size, args.tracks, args.threads, args.seed)
    rules = _apart(calibrate, base, args.device)
    rows, results = [], {}
    for _ in range(args.rounds):
        for length in lengths:
            for system in args.systems:
                run = base._replace(system=system, frames=length)
                row, result = _apart(measure, run, args.device, rules)
                rows.append(row)
                results.setdefault(system, result)
                print(
                    f"{system:>10} {length:4d} frames: {row['seconds']:8.2f} s, "
                    f"{row['cpu_seconds']:8.2f} s cpu, peak {row['peak_mib']:7.0f} MiB",
                    file=sys.stderr,
                )
    return rows, results


def _apart(function: Any, *args: Any) -> Any:
    """Calls a function in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, args)


def summarise(rows: list[dict[str, Any]], results: dict[str, Any]) -> dict[str, Any]:
    """Medians of each system and length, and ratios to the literal one where it ran."""
    cases: dict[str, dict[str, Any]] = {}
    for row in rows:
        cases.setdefault(f"{row['system']} {row['frames']}", {}).setdefault("runs", []).append(row)
    for case in cases.values():
        runs = case.pop("runs")
        case |= {key: runs[0][key] for key in ("system", "frames", "tracks", "visible")}
        for key in ("seconds", "cpu_seconds", "peak_mib", "fps_p50", "fps_p95"):
            case[key] = median(run[key] for run in runs)
        case["parts"] = {
            name: median(run["parts"][name] for run in runs) for name in runs[0]["parts"]
        }
    for case in cases.values():
        literal = cases.get(f"literal {case['frames']}")
        if literal and case is not literal:
            case["ratios"] = ratios(literal, case)
            case["agreement"] = agreement(results["literal"], results[case["system"]])
    return {"cases": cases}


def ratios(literal: dict[str, Any], case: dict[str, Any]) -> dict[str, float]:
    """How many times less the case needs than the literal one."""
    found = {key: literal[key] / case[key] for key in ("seconds", "cpu_seconds", "peak_mib")}
    slow, fast = (trackers(one["parts"]) for one in (literal, case))
    return found | {"trackers": slow / fast}


def trackers(parts: dict[str, float]) -> float:
    """CPU seconds of both trackers, their pooling and heads, and the life cycle."""
    names = ("tracker 1", "tracker 2", "pooling", "heads", "life cycle")
    return sum(parts.get(name, 0.0) for name in names)


def table(summary: dict[str, Any]) -> str:
    """The cases as Markdown."""
    head = "| system | frames | FPS p50 | FPS p95 | s | cpu s | peak MiB | ratios to literal |"
    lines = [head, "|---|---|---|---|---|---|---|---|"]
    for case in summary["cases"].values():
        told = ", ".join(f"{k} {v:.1f}x" for k, v in case.get("ratios", {}).items())
        lines.append(
            f"| {case['system']} | {case['frames']} | {case['fps_p50']:.2f} | "
            f"{case['fps_p95']:.2f} | {case['seconds']:.1f} | {case['cpu_seconds']:.1f} | "
            f"{case['peak_mib']:.0f} | {told} |"
        )
    lines += ["", "CPU milliseconds a frame by part:", ""]
    for case in summary["cases"].values():
        parts = ", ".join(
            f"{name} {1000 * value / case['frames']:.1f}" for name, value in case["parts"].items()
        )
        lines.append(f"* {case['system']} ({case['frames']} frames): {parts}")
        if "agreement" in case:
            same = ", ".join(f"{name} {value:.5f}" for name, value in case["agreement"].items())
            lines.append(f"  against literal: {same}")
    return "\n".join(lines)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    told = "literal, float32, bfloat16, float16, the last three perhaps with ':compiled'"
    parser.add_argument("--systems", nargs="+", default=SYSTEMS, metavar="NAME", help=told)
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--lengths", type=int, nargs="+", help="several numbers of frames")
    parser.add_argument("--tracks", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=1, help="times that all systems take turns")
    parser.add_argument("--height", type=int, default=480, help="of the frame, pixels")
    parser.add_argument("--width", type=int, default=854)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    return parser


if __name__ == "__main__":
    main()
