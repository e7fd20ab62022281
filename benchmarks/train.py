"""A training step of the trackers: this package beside the literal implementation.

    python benchmarks/train.py                                    # R50, 5 frames of 240x432
    python benchmarks/train.py --systems literal float32 bfloat16 stored --json train.json
    python benchmarks/train.py --device cuda --systems float32 bfloat16

The clip has 8 rectangles that move; the stage is that of clips of 5 frames with simulated
disappearances. `stored` takes the frozen segmenter's outputs from memory (SOLVER.CACHE_SEGMENTER).
Each run is a process of its own, and the systems take turns: read the ratios. Times are CPU
seconds of the process, or seconds of the wall on a GPU; a step is the median of `--repeats`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # runs from a plain checkout

import dvis_daq.recipes  # noqa: F401 isort: skip  registers the models

import torch
from torch import Tensor, nn

import dvis_daq.training.objectives.daq as daq
from benchmarks.literal import LiteralModel, LiteralTraining, inference
from benchmarks.literal.training import Truth, trainable
from benchmarks.runs import CONFIG, machine
from benchmarks.stopwatch import Stopwatch
from dvis_daq.checkpoint import to_official
from dvis_daq.config import get_config
from dvis_daq.engine.adaptation import adapt
from dvis_daq.engine.optimizer import build_optimizer, clip_gradients
from dvis_daq.engine.precision import Precision
from dvis_daq.engine.setup import build_model
from dvis_daq.structures import ClipTargets
from dvis_daq.training.objectives import Clip

SYSTEMS = ("literal", "float32")
PRECISIONS = {"float32": "fp32", "stored": "fp32", "bfloat16": "bf16", "float16": "fp16"}
ITERATION = 10_000  # the first of the stage with whole clips
PARTS = [
    ("segmenter", daq, "segment_clips"),
    ("matching", daq, "match_frames"),
    ("matching", daq, "match_new"),
    ("losses", daq, "set_loss"),
]
LITERAL_PARTS = [
    ("segmenter", inference, "segment"),
    ("matching", LiteralTraining, "match"),
    ("losses", LiteralTraining, "loss"),
]


def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    rows: dict[str, list[dict[str, Any]]] = {}
    for _ in range(args.rounds):
        for system in args.systems:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                rows.setdefault(system, []).append(pool.apply(measure, (args, system)))
    summary = {name: _median(runs) for name, runs in rows.items()}
    for case in summary.values():
        if "literal" in summary:
            case["ratio"] = summary["literal"]["seconds"] / case["seconds"]
    print(table(summary))
    if args.json:
        settings = {name: str(value) for name, value in vars(args).items()}
        report = {"machine": machine(args.device), "settings": settings, "cases": summary}
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(report, indent=1) + "\n")


def _median(runs: list[dict[str, Any]]) -> dict[str, Any]:
    parts = {name: median(run["parts"][name] for run in runs) for name in runs[0]["parts"]}
    middle = {key: median(run[key] for run in runs) for key in ("seconds", "wall", "loss")}
    return middle | {"parts": parts}


def measure(args: argparse.Namespace, system: str) -> dict[str, Any]:
    """Seconds of a step by part."""
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    model = build(args, system)
    images, targets = example(args)
    step = literal_step(model, images, targets)
    parts: list[tuple[str, Any, str]] = LITERAL_PARTS
    if system != "literal":
        step, parts = own_step(model, images, targets, system), PARTS
    step(Stopwatch(torch.device(args.device)))  # lazy allocations
    runs = []
    for _ in range(args.repeats):
        watch = Stopwatch(torch.device(args.device))
        with ExitStack() as stack:
            for row, owner, name in parts:
                timed = watch.timed(row, getattr(owner, name))
                stack.enter_context(mock.patch.object(owner, name, timed))
            start, wall = watch.now(), time.perf_counter()
            loss = step(watch)
            seconds, wall = watch.now() - start, time.perf_counter() - wall
        parts_of = watch.parts(seconds)
        parts_of["trackers"] = parts_of.pop("rest")
        runs.append({"seconds": seconds, "wall": wall, "loss": loss, "parts": parts_of})
    return _median(runs)


def build(args: argparse.Namespace, system: str) -> nn.Module:
    cfg = get_config(CONFIG, ["MODEL.DEVICE", args.device, "MODEL.WEIGHTS", ""])
    model = build_model(cfg).train()
    if system != "literal":
        model = adapt(cfg, model)
    with torch.no_grad():  # random classes are nearly alike; with these some rows are kept
        model.tracker.head.class_embed.weight.mul_(8)
    return model


def example(args: argparse.Namespace) -> tuple[Tensor, ClipTargets]:
    """A clip of noise and 8 moving rectangles."""
    size, generator = (args.height, args.width), torch.Generator().manual_seed(args.seed)
    images = torch.randint(0, 256, (args.frames, 3, *size), generator=generator, dtype=torch.uint8)
    masks = torch.zeros(args.objects, args.frames, *size, dtype=torch.bool)
    for index, (y, x) in enumerate(torch.rand(args.objects, 2, generator=generator).tolist()):
        top, left = int(0.6 * y * args.height), int(0.6 * x * args.width)
        for t in range(args.frames):
            masks[index, t, top + 2 * t : top + 60 + 2 * t, left : left + 70] = True
    ids = torch.arange(args.objects)
    return images, ClipTargets(ids % 25, masks, ids)


def own_step(
    model: nn.Module, images: Tensor, targets: ClipTargets, system: str
) -> Callable[[Stopwatch], float]:
    """One update by the package, as `engine.Trainer` makes it."""
    cfg = get_config(CONFIG)
    optimizer = build_optimizer(cfg, model)
    precision = Precision(PRECISIONS[system], model.device)
    clip = Clip(images.to(model.device), targets.to(model.device))
    if system == "stored":
        with torch.no_grad():
            clip = Clip(model.segmenter(clip.images), clip.targets)

    def step(watch: Stopwatch) -> float:
        with precision.autocast():
            total = sum(model.objective(model, [clip], ITERATION).values())
        watch.timed("backward", precision.backward)(total)
        watch.timed("optimiser", update)()
        return float(total.detach())

    def update() -> None:
        precision.scaler.unscale_(optimizer)
        clip_gradients(cfg, optimizer)
        precision.scaler.step(optimizer)
        precision.scaler.update()
        optimizer.zero_grad(set_to_none=True)

    return step


def literal_step(
    model: nn.Module, images: Tensor, targets: ClipTargets
) -> Callable[[Stopwatch], float]:
    """One update by the literal implementation."""
    weights = trainable(to_official(model.state_dict()))
    literal = LiteralModel(
        weights,
        mean=model.segmenter.pixel_mean.flatten().tolist(),
        std=model.segmenter.pixel_std.flatten().tolist(),
        thresholds=inference.Thresholds(0.1, 0.01, 0.01, 8),
    )
    training = LiteralTraining(literal)
    learned = [value for value in weights.values() if value.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-4, weight_decay=0.05, foreach=False)
    bottom, right = (-size % 32 for size in images.shape[-2:])
    truth = Truth(targets.labels, nn.functional.pad(targets.masks, (0, right, 0, bottom)))

    def step(watch: Stopwatch) -> float:
        total = training(images, truth)
        watch.timed("backward", total.backward)()
        watch.timed("optimiser", update)()
        return total.item()

    def update() -> None:
        nn.utils.clip_grad_norm_(learned, 0.01, foreach=False)
        optimizer.step()
        optimizer.zero_grad()

    return step


def table(summary: dict[str, Any]) -> str:
    """The cases as Markdown."""
    lines = [
        "| system | iterations a cpu second | literal / it | ms by part |",
        "|---|---|---|---|",
    ]
    for name, case in summary.items():
        parts = ", ".join(f"{k} {1000 * v:.0f}" for k, v in case["parts"].items())
        ratio = f"{case['ratio']:.1f}x" if "ratio" in case else "-"
        lines.append(f"| {name} | {1 / case['seconds']:.3f} | {ratio} | {parts} |")
    return "\n".join(lines)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    told = "literal, float32, bfloat16, float16, stored (default: the first two)"
    parser.add_argument("--systems", nargs="+", default=SYSTEMS, metavar="NAME", help=told)
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--objects", type=int, default=8)
    parser.add_argument("--height", type=int, default=240, help="of the frame, pixels")
    parser.add_argument("--width", type=int, default=432)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=1, help="times that all systems take turns")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    return parser


if __name__ == "__main__":
    main()
