#!/usr/bin/env python
"""Parameters, operations, time and memory of a configuration's model, part by part (Tab. A4b).

What is counted:
- Operations are those of fvcore: a multiplication with its addition is one, and what is done
  element by element (activations, softmax, comparisons) is free. Attention and the sampling of
  deformable attention are added to fvcore's list.
- The segmenter sees one frame, padded to a multiple of 32 pixels. The trackers make one later
  step: --tracks tracked objects and all candidates of the segmenter. The refiner reads
  --tracks tracks over --frames frames.
- Tracker 1 is everything of the tracker except tracker 2, so the projection of the mask
  features, the masks and the appearance of all rows count there. In evaluation tracker 2 makes
  scores and no masks.
- Time is the median of --repeats runs after one that does not count, memory the peak while a
  part runs, beyond what there was before: on a GPU what the allocator hands out, else the sum
  of living tensors. Weights are random, frames are noise.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import sys
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a plain checkout

import dvis_daq  # noqa: F401  makes detectron2 importable; isort: skip

import torch
from detectron2.config import CfgNode
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import dvis_daq.recipes  # noqa: F401  registers the models
from dvis_daq.config import get_config
from dvis_daq.engine.setup import build_model, one_line_errors
from dvis_daq.model import VideoModel
from dvis_daq.structures import FrameOutputs
from dvis_daq.tracker.daq import DAQTracker
from dvis_daq.tracker.state import TrackState, advance

EXAMPLES = """
examples:
  python tools/analyze_model.py --config-file configs/ovis/DVIS_DAQ_online_R50.yaml
  python tools/analyze_model.py --config-file configs/ovis/DVIS_DAQ_offline_ViTL.yaml \\
      --tracks 40 --frames 15 --out vitl.json MODEL.DEVICE cpu
"""


@dataclass(frozen=True)
class Stage:
    """A module that runs by itself, and the parts of it that are told apart.

    Attributes:
        name: of what remains of the module without its parts.
        module: what runs.
        parts: modules within, by the name of their row.
        run: one run.
        owned: parameters outside of `parts` that belong to one of them, by its row.
    """

    name: str
    module: nn.Module
    parts: Mapping[str, nn.Module]
    run: Callable[[], Any]
    owned: Mapping[str, Sequence[nn.Module]] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """What one part costs; None is what was not asked for.

    `operators` splits the operations of a stage, with all its parts, by kind.
    """

    part: str
    parameters: int
    operations: float | None = None
    operators: Mapping[str, float] | None = None
    milliseconds: float | None = None
    peak_bytes: int | None = None


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    torch.manual_seed(args.seed)
    with one_line_errors():
        rows = analyze(
            get_config(args.config_file, ["MODEL.WEIGHTS", "", *args.opts]),
            size=(args.height, args.width),
            tracks=args.tracks,
            frames=args.frames,
            repeats=args.repeats,
            operations=args.operations,
            memory=args.memory,
        )
    print(table(rows))
    if args.out:
        settings = {name: str(value) for name, value in vars(args).items()}
        result = {"machine": machine(), "settings": settings, "rows": [asdict(row) for row in rows]}
        args.out.write_text(json.dumps(result, indent=2) + "\n")


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, metavar="FILE", help="YAML")
    parser.add_argument("--height", type=int, default=480, help="of a frame, pixels")
    parser.add_argument("--width", type=int, default=854)
    parser.add_argument("--tracks", type=int, default=20, help="tracked objects")
    parser.add_argument("--frames", type=int, default=5, help="of the clip that is refined")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs; 0: no times")
    parser.add_argument("--operations", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="overrides")
    return parser.parse_args(argv)


@torch.no_grad()
def analyze(
    cfg: CfgNode,
    *,
    size: tuple[int, int],
    tracks: int,
    frames: int = 5,
    repeats: int = 3,
    operations: bool = True,
    memory: bool = True,
) -> list[Row]:
    """The costs of a model's parts, in the order in which a frame meets them.

    Args:
        cfg: the whole configuration.
        size: height and width of a frame, pixels.
        tracks: tracked objects.
        frames: length of the clip that a refiner reads.
        repeats: timed runs; 0 for no times.
        operations, memory: whether they are counted.
    """
    model = build_model(cfg).eval()
    rows = []
    for stage in stages(model, size=size, tracks=tracks, frames=frames):
        counted, kinds = count_operations(stage) if operations else ({}, None)
        spent = time_parts(stage, repeats, model.device) if repeats else {}
        peaks = peak_memory(stage, model.device) if memory else {}
        rows += [
            Row(
                name,
                number,
                counted.get(name),
                kinds if name == stage.name else None,
                spent.get(name),
                peaks.get(name),
            )
            for name, number in count_parameters(stage).items()
        ]
    return rows


def stages(
    model: VideoModel, *, size: tuple[int, int], tracks: int, frames: int
) -> Iterator[Stage]:
    """Segmenter, tracker and refiner of a model, ready to run on noise."""
    image = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8, device=model.device)
    segmenter = model.segmenter
    head = segmenter.sem_seg_head
    parts = {
        "backbone": segmenter.backbone,
        "pixel decoder": head.pixel_decoder,
        "query decoder": head.predictor,
    }
    yield Stage("segmenter", segmenter, parts, lambda: segmenter(image))
    frame = segmenter(image)
    tracker = model.tracker
    if any(True for _ in tracker.parameters()):
        state = running_state(tracker, frame, tracks)
        two = tracker.disappearance if isinstance(tracker, DAQTracker) else None
        yield Stage(
            "tracker" if two is None else "tracker 1",
            tracker,
            {} if two is None else {"tracker 2": two},
            lambda: tracker.step(state, frame),
            {} if two is None else {"tracker 2": [tracker.background_queries]},
        )
    if model.refiner is not None:
        refiner, width = model.refiner, frame.embeds.shape[-1]
        sequences = torch.randn(frames, tracks, width, device=model.device)
        candidates = frame.embeds.expand(frames, -1, -1)
        features = frame.mask_features.expand(frames, -1, -1, -1)
        yield Stage(
            "refiner",
            refiner,
            {},
            lambda: refiner.predict(refiner(sequences, candidates), features),
        )


def running_state(tracker: nn.Module, frame: FrameOutputs, tracks: int) -> TrackState:
    """What a tracker carries after a first frame in which the first `tracks` rows are seen."""
    step = tracker.step(tracker.start(), frame)
    rows = len(step.queries)
    limit = tracks if isinstance(tracker, DAQTracker) else rows  # the others keep all rows
    seen = torch.arange(rows, device=step.queries.device) < limit
    state, _ = advance(tracker.start(), step, seen, 1)
    return state


def by_row(stage: Stage, total: float, inner: Mapping[str, float]) -> dict[str, Any]:
    """The parts of a stage, and what is left of it under its own name.

    A segmenter is its parts, so its row is their sum and what is between them.
    """
    if stage.name == "segmenter":
        return {**inner, stage.name: total}
    return {stage.name: total - sum(inner.values()), **inner}


def count_parameters(stage: Stage) -> dict[str, int]:
    def number(modules: Iterable[nn.Module]) -> int:
        return sum(p.numel() for module in modules for p in module.parameters())

    inner = {
        name: number([module, *stage.owned.get(name, ())]) for name, module in stage.parts.items()
    }
    return by_row(stage, number([stage.module]), inner)


class _Traced(nn.Module):
    """A stage as a module of tensors, which is what fvcore can trace."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.module = stage.module
        self.run = stage.run

    def forward(self, trigger: Tensor) -> list[Tensor]:
        return tensors_of(self.run())


def count_operations(stage: Stage) -> tuple[dict[str, float], dict[str, float]]:
    """Multiplications with addition of one run: by part, and of all parts by kind."""
    logging.getLogger("fvcore.nn.jit_analysis").setLevel(logging.ERROR)
    analysis = FlopCountAnalysis(_Traced(stage), torch.zeros(1))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.set_op_handle("aten::scaled_dot_product_attention", attention_operations)
    analysis.set_op_handle("aten::embedding_bag", bag_operations)
    counts = analysis.by_module()
    names = {module: name for name, module in stage.module.named_modules()}
    inner = {row: counts[f"module.{names[part]}"] for row, part in stage.parts.items()}
    return by_row(stage, analysis.total(), inner), dict(analysis.by_operator())


def attention_operations(inputs: list[Any], outputs: list[Any]) -> Counter:
    """Logits and weighted sum of (..., N, d) queries over (..., S, d) keys."""
    query, key = (value.type().sizes() for value in inputs[:2])
    rows = 1
    for length in query[:-1]:
        rows *= length
    return Counter({"attention": 2 * rows * key[-2] * query[-1]})


def bag_operations(inputs: list[Any], outputs: list[Any]) -> Counter:
    """Weighted sum of rows of a table."""
    table, rows = (value.type().sizes() for value in inputs[:2])
    total = table[-1]
    for length in rows:
        total *= length
    return Counter({"sampling": total})


def tensors_of(value: Any) -> list[Tensor]:
    """All tensors of a result, whatever dataclasses and containers they are in."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, (list, tuple)):
        return [tensor for item in value for tensor in tensors_of(item)]
    if hasattr(value, "__dataclass_fields__"):
        return tensors_of([getattr(value, name) for name in value.__dataclass_fields__])
    return []


@contextmanager
def watched(
    parts: Mapping[str, nn.Module], enter: Callable[[str], None], leave: Callable[[str], None]
) -> Iterator[None]:
    """Calls `enter` and `leave` with the name of a part around each of its runs."""
    handles = []
    for name, module in parts.items():
        handles += [
            module.register_forward_pre_hook(lambda *_, name=name: enter(name)),
            module.register_forward_hook(lambda *_, name=name: leave(name)),
        ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def time_parts(stage: Stage, repeats: int, device: torch.device) -> dict[str, float]:
    """Median milliseconds of a run, by part."""
    runs: dict[str, list[float]] = {name: [] for name in (*stage.parts, stage.name)}
    start: dict[str, float] = {}

    def enter(name: str) -> None:
        start[name] = clock(device)

    def leave(name: str) -> None:
        runs[name].append(clock(device) - start[name])

    with watched(stage.parts, enter, leave):
        for _ in range(repeats + 1):
            enter(stage.name)
            stage.run()
            leave(stage.name)
    medians = {name: median(times[1:]) for name, times in runs.items()}
    total = medians.pop(stage.name)
    return by_row(stage, total, medians)


def clock(device: torch.device) -> float:
    """Milliseconds; waits for an accelerator's queue."""
    if device.type != "cpu":
        torch.accelerator.synchronize()
    return 1e3 * time.perf_counter()


def peak_memory(stage: Stage, device: torch.device) -> dict[str, int]:
    """Bytes that a part needs while it runs, beyond what there was before."""
    peaks: dict[str, int] = {}
    before: dict[str, int] = {}
    with meter(device) as ruler:

        def enter(name: str) -> None:
            before[name] = ruler.now()
            ruler.reset()

        def leave(name: str) -> None:
            peaks[name] = ruler.peak() - before[name]

        with watched(stage.parts, enter, leave):
            at_start = ruler.now()
            ruler.reset()
            stage.run()
        total = max([ruler.peak() - at_start, *(peaks[n] + before[n] - at_start for n in peaks)])
    return {**peaks, stage.name: total}


@contextmanager
def meter(device: torch.device) -> Iterator[Any]:
    """Something with `now()`, `peak()` since the last `reset()`, in bytes."""
    if device.type == "cpu":
        with LivingTensors() as ruler:
            yield ruler
    else:
        yield _Allocator(device)


class _Allocator:
    """What an accelerator's allocator has handed out."""

    def __init__(self, device: torch.device) -> None:
        self.memory = getattr(torch, device.type)
        self.device = device

    def now(self) -> int:
        return self.memory.memory_allocated(self.device)

    def peak(self) -> int:
        return self.memory.max_memory_allocated(self.device)

    def reset(self) -> None:
        self.memory.reset_peak_memory_stats(self.device)


class LivingTensors(TorchDispatchMode):
    """Sums the storage of the tensors that operations make, as long as they live."""

    def __init__(self) -> None:
        super().__init__()
        self._known: set[int] = set()
        self._bytes = self._peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        inputs = {tensor.untyped_storage()._cdata for tensor in tensors_of(list(args))}
        for tensor in tensors_of(result):
            storage = tensor.untyped_storage()
            if storage._cdata not in self._known | inputs:
                self._add(storage)
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        self._known.add(key)
        self._bytes += size
        self._peak = max(self._peak, self._bytes)
        weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._bytes -= size

    def now(self) -> int:
        return self._bytes

    def peak(self) -> int:
        return self._peak

    def reset(self) -> None:
        self._peak = self._bytes


def table(rows: Sequence[Row]) -> str:
    """One line a part."""
    columns = (
        ("params (M)", lambda row: row.parameters / 1e6, 2),
        ("operations (G)", lambda row: row.operations / 1e9, 2),
        ("time (ms)", lambda row: row.milliseconds, 2),
        ("memory (MB)", lambda row: row.peak_bytes / 1e6, 1),
    )
    fields = ("parameters", "operations", "milliseconds", "peak_bytes")
    shown = [
        (title, value, digits)
        for (title, value, digits), name in zip(columns, fields, strict=True)
        if getattr(rows[0], name) is not None
    ]
    lines = ["part".ljust(14) + "".join(title.rjust(16) for title, *_ in shown)]
    for row in rows:
        cells = (f"{value(row):.{digits}f}".rjust(16) for _, value, digits in shown)
        lines.append(row.part.ljust(14) + "".join(cells))
    for row in rows:
        if row.operators:
            kinds = sorted(row.operators.items(), key=lambda item: -item[1])
            listed = ", ".join(f"{kind} {number / 1e9:.2f}" for kind, number in kinds)
            lines.append(f"{row.part}, all parts, G: {listed}")
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """Where the figures come from."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor()
    return {
        "device": device or platform.machine(),
        "system": platform.platform(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    main()
