"""Time of one tracker step against the number of tracks, beside the segmenter's time.

    python benchmarks/step.py                         # 480x854, R50 dimensions, 100 candidates
    python benchmarks/step.py --tracks 20 100 1000 --device cuda --out step.json
    python benchmarks/step.py --no-segmenter          # the tracker alone

A step is tracker 1, tracker 2, mask pooling and prediction; the life cycle (`Lifecycle.seen`,
`advance`) and the storing of masks (`TrackBank.add`) are timed apart. Weights and tracks are
random; the segmenter sees one frame of noise. Times are medians, in milliseconds a frame.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a plain checkout

import torch
from torch import Tensor, nn

from dvis_daq.config import get_config
from dvis_daq.recipes import build_daq_tracker, build_segmenter, lifecycle
from dvis_daq.structures import FrameOutputs
from dvis_daq.tracker.appearance import AppearanceMemory
from dvis_daq.tracker.bank import TrackBank
from dvis_daq.tracker.daq import DAQTracker
from dvis_daq.tracker.state import Lifecycle, TrackState, advance

CONFIG = Path(__file__).parents[1] / "configs" / "ovis" / "DVIS_DAQ_online_R50.yaml"
PARTS = ("emergence", "disappearance", "head", "appearance_mlp")


def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    device = torch.device(args.device)
    cfg = get_config(CONFIG, ["MODEL.DEVICE", args.device, "MODEL.WEIGHTS", ""])
    segmenter = build_segmenter(cfg).to(device).eval()
    tracker = build_daq_tracker(cfg, segmenter).to(device).eval()
    with torch.inference_mode():
        image = torch.randint(0, 256, (1, 3, args.height, args.width), dtype=torch.uint8)
        frame = segmenter(image)
        segmenting = None
        if args.segmenter:
            segmenting = timed(lambda: segmenter(image), args.repeats, device)
        rows = [measure(tracker, lifecycle(cfg), frame, n, args.repeats) for n in args.tracks]
    report(rows, segmenting)
    if args.out:
        settings = {name: str(value) for name, value in vars(args).items()}
        result = {"machine": machine(device), "settings": settings, "segmenter_ms": segmenting}
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result | {"rows": rows}, indent=2) + "\n")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tracks", type=int, nargs="+", default=[0, 20, 50, 100])
    parser.add_argument("--height", type=int, default=480, help="of the frame, pixels")
    parser.add_argument("--width", type=int, default=854)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="0: as torch finds it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--segmenter", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", type=Path, help="JSON file")
    return parser


def measure(
    tracker: DAQTracker, life: Lifecycle, frame: FrameOutputs, tracks: int, repeats: int
) -> dict[str, Any]:
    """Times of a frame in which `tracks` objects are tracked, in milliseconds."""
    state, device = crowd(tracker, tracks), frame.embeds.device
    step = tracker.step(state, frame)
    seen = life.seen(state, step, frame)
    after, rows = advance(state, step, seen, life.patience)

    def live() -> None:
        advance(state, step, life.seen(state, step, frame), life.patience)

    row: dict[str, Any] = {"tracks": tracks}
    row["step_ms"] = timed(lambda: tracker.step(state, frame), repeats, device)
    row["life_cycle_ms"] = timed(live, repeats, device)
    row["bank_ms"] = timed(lambda: TrackBank().add(after, step, rows, seen), repeats, device)
    parts = parts_of(tracker, lambda: tracker.step(state, frame), repeats, device)
    row |= {f"{name}_ms": value for name, value in parts.items()}
    row["pooling_and_anchors_ms"] = row["step_ms"] - sum(parts.values())
    row["total_ms"] = row["step_ms"] + row["life_cycle_ms"]
    return row


def crowd(tracker: DAQTracker, tracks: int) -> TrackState:
    """A later frame's state with random tracks, each observed once."""
    like = tracker.emergence_query.weight
    queries, appearance = like.new_empty(2, tracks, like.shape[1]).normal_()
    ids = torch.arange(tracks, device=like.device)
    memory = AppearanceMemory.start(appearance, tracker.window)
    return TrackState(ids, queries, memory, torch.zeros_like(ids), tracks, frame=1)


def timed(call: Callable[[], Any], repeats: int, device: torch.device) -> float:
    """Median milliseconds of a call, after one that does not count."""
    call()
    spent = []
    for _ in range(repeats):
        start = clock(device)
        call()
        spent.append(clock(device) - start)
    return median(spent)


def parts_of(
    tracker: nn.Module, call: Callable[[], Any], repeats: int, device: torch.device
) -> dict[str, float]:
    """Median milliseconds that a call spends in each of the tracker's modules."""
    spent: dict[str, list[float]] = {name: [] for name in PARTS}
    started: dict[str, float] = {}
    handles = []
    for name in PARTS:

        def enter(_: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
            started[name] = clock(device)

        def leave(_: nn.Module, inputs: tuple[Tensor, ...], out: Any, name: str = name) -> None:
            spent[name][-1] += clock(device) - started[name]

        module = tracker.get_submodule(name)
        handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    for _ in range(repeats):
        for times in spent.values():
            times.append(0.0)
        call()
    for handle in handles:
        handle.remove()
    return {name: median(times) for name, times in spent.items()}


def clock(device: torch.device) -> float:
    """Milliseconds; waits for an accelerator's queue."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1e3 * time.perf_counter()


def report(rows: list[dict[str, Any]], segmenter_ms: float | None) -> None:
    """Prints the table."""
    names = [name.removesuffix("_ms") for name in rows[0]]
    print("  ".join(names) + ("  of segmenter" if segmenter_ms else ""))
    for row in rows:
        cells = [
            f"{value:>{len(name)}.1f}" if isinstance(value, float) else f"{value:>{len(name)}}"
            for name, value in zip(names, row.values(), strict=True)
        ]
        share = f"  {row['total_ms'] / segmenter_ms:>12.1%}" if segmenter_ms else ""
        print("  ".join(cells) + share)
    if segmenter_ms:
        print(f"segmenter: {segmenter_ms:.1f} ms")
    if {20, 100} <= {row["tracks"] for row in rows}:
        total = {row["tracks"]: row["total_ms"] for row in rows}
        print(f"100 tracks over 20: {total[100] / total[20]:.2f}")


def machine(device: torch.device) -> dict[str, Any]:
    """Where the figures come from."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    return {
        "device": name or platform.machine(),
        "system": platform.platform(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    main()
