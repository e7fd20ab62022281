"""One system over one video, in a process of its own."""

from __future__ import annotations

import platform
import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import nn

import dvis_daq.recipes  # noqa: F401  registers the methods
from benchmarks.literal import LiteralModel, Thresholds
from benchmarks.stopwatch import Stopwatch
from dvis_daq.checkpoint import to_official
from dvis_daq.config import get_config
from dvis_daq.data.images import LazyClip
from dvis_daq.data.transforms import Plan
from dvis_daq.engine.adaptation import compile_segmenter, compile_tracker
from dvis_daq.engine.setup import build_model
from dvis_daq.segmenter.folding import fold_frozen_norms
from dvis_daq.structures import foreground_score
from dvis_daq.tracker.state import Lifecycle

CONFIG = Path(__file__).parents[1] / "configs" / "ovis" / "DVIS_DAQ_online_R50.yaml"
WINDOW = 5


class Run(NamedTuple):
    """What is run."""

    system: str  # literal, or a precision of the package, perhaps with ":compiled"
    folder: Path  # JPEG frames
    frames: int
    size: tuple[int, int]  # pixels
    tracks: int
    threads: int
    seed: int


def machine(device: str) -> dict[str, Any]:
    """Where the figures come from."""
    return {
        "processor": platform.processor() or platform.machine(),
        "device": torch.cuda.get_device_name() if device != "cpu" else _cpu_name(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _cpu_name() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "CPU")


def write_frames(folder: Path, frames: int, size: tuple[int, int], seed: int) -> None:
    """A panning picture of smooth noise with rectangles that move, as JPEG files."""
    random = np.random.default_rng(seed)
    height, width = size
    small = random.integers(0, 256, (height // 16, width // 8, 3), dtype=np.uint8)
    backdrop = cv2.resize(small, (2 * width, height), interpolation=cv2.INTER_CUBIC)
    boxes = random.uniform(0, 1, (8, 4))
    for t in range(frames):
        shift = 4 * t % width
        frame = backdrop[:, shift : shift + width].copy()
        for index, (x, y, dx, dy) in enumerate(boxes):
            left = int((x + 0.02 * dx * t) % 0.9 * width)
            top = int((y + 0.02 * dy * t) % 0.9 * height)
            colour = tuple(int(c) for c in random.integers(0, 256, 3)) if t == 0 else None
            shade = colour or (40 * index % 256, 90 * index % 256, 150)
            cv2.rectangle(frame, (left, top), (left + width // 8, top + height // 6), shade, -1)
        cv2.imwrite(str(folder / f"{t:05d}.jpg"), frame)


def clip(run: Run) -> LazyClip:
    files = [str(run.folder / f"{t:05d}.jpg") for t in range(run.frames)]
    return LazyClip(files, run.size, Plan.start(run.size))


def build(run: Run, device: str, rules: dict[str, float]) -> nn.Module:
    """The model of the package with the thresholds `rules`."""
    torch.manual_seed(run.seed)
    torch.set_num_threads(run.threads)
    precision, _, compiled = run.system.replace("literal", "float32").partition(":")
    opts = ["MODEL.DEVICE", device, "MODEL.WEIGHTS", "", "TEST.PRECISION", precision]
    model = build_model(get_config(CONFIG, opts)).eval()
    with torch.no_grad():  # random classes are nearly alike; these can be told apart
        model.tracker.head.class_embed.weight.mul_(8)
        model.segmenter.sem_seg_head.predictor.class_embed.weight.mul_(8)
    model.lifecycle = replace(model.lifecycle, **rules)
    if run.system != "literal":
        fold_frozen_norms(model, dtype=getattr(torch, precision))
    if compiled:
        compile_segmenter(model.segmenter)
        compile_tracker(model.tracker)
    return model


@torch.inference_mode()
def calibrate(run: Run, device: str) -> dict[str, Any]:
    """Thresholds at which `tracks` candidates of the first frame live through the video."""
    endless = {"patience": run.frames * 100, "foreground_score": 0.0}
    model = build(run, device, endless | {"score": 1.0, "first_score": 0.0})
    [frame] = model.segmented(clip(run)[:1])
    best = foreground_score(frame.logits[0]).sort(descending=True).values
    first = (best[run.tracks - 1] + best[run.tracks]).item() / 2
    return endless | {"first_score": first, "score": 1.0}


@torch.inference_mode()
def measure(
    run: Run, device: str, rules: dict[str, float]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Times, memory and the result of a video."""
    model = build(run, device, rules)
    watch, images = Stopwatch(torch.device(device)), clip(run)
    system: Any = model
    if run.system == "literal":
        system = _literal(model)
        del model
    _walk(system, clip(run._replace(frames=min(2, run.frames))), run.size)  # lazy allocations
    with ExitStack() as stack:
        watch.install(stack, system, modules=":" not in run.system)
        start, cpu = time.perf_counter(), time.process_time()
        marks, result = _walk(system, images, run.size)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    rate = 1 / np.diff([start, *marks])  # frames a second
    row = {
        "system": run.system,
        "frames": run.frames,
        "tracks": len(set(result["rows"])),
        "visible": run.tracks,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "fps_p50": float(np.median(rate)),
        "fps_p95": float(np.quantile(rate, 0.05)),  # 95 % of the frames are faster
        "parts": watch.parts(cpu),
    }
    return row, result


def _literal(model: nn.Module) -> LiteralModel:
    """The literal model with the weights and thresholds of the package's."""
    life: Lifecycle = model.lifecycle
    return LiteralModel(
        to_official(model.state_dict()),
        mean=model.segmenter.pixel_mean.flatten().tolist(),
        std=model.segmenter.pixel_std.flatten().tolist(),
        thresholds=Thresholds(
            score=life.score,
            first_score=life.first_score,
            foreground_score=life.foreground_score,
            patience=life.patience,
        ),
    )


def _walk(system: Any, images: LazyClip, size: tuple[int, int]) -> tuple[list[float], Any]:
    """When each window was done, as seconds a frame, and the result of the video."""
    marks: list[float] = []
    timed = _Marked(images, marks)
    if isinstance(system, LiteralModel):
        decoded = torch.cat([timed[t : t + WINDOW] for t in range(0, len(images), WINDOW)])
        marks.clear()
        found = system(_Marked(decoded, marks), size)
    else:
        [found] = system([{"images": timed, "height": size[0], "width": size[1]}])
    marks.append(time.perf_counter())
    return _per_frame(marks, len(images)), _named(found)


def _per_frame(marks: list[float], frames: int) -> list[float]:
    """Ends of the frames, if those of a window take equally long each."""
    ends = marks[1:]  # a window ends when the next is asked for
    step = max(1, -(-frames // len(ends)))
    spread: list[float] = []
    for begin, end in zip(marks, ends, strict=False):
        count = min(step, frames - len(spread))
        spread += [begin + (end - begin) * (k + 1) / count for k in range(count)]
    return spread


def _named(found: dict[str, Any]) -> dict[str, Any]:
    """Scores and masks by (track, class)."""
    rows = found["rows" if "rows" in found else "ids"].tolist()
    pairs = list(zip(rows, found["labels"].tolist(), strict=True))
    masks = map(list, found["masks"])
    return {
        "rows": rows,
        "scores": dict(zip(pairs, found["scores"].tolist(), strict=True)),
        "masks": dict(zip(pairs, masks, strict=True)),
    }


class _Marked:
    """A clip that notes when a window is asked for."""

    def __init__(self, images: Any, marks: list[float]) -> None:
        self.images, self.marks = images, marks

    @property
    def shape(self) -> torch.Size:
        return self.images.shape

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter(self.images)

    def __getitem__(self, key: slice) -> torch.Tensor:
        self.marks.append(time.perf_counter())
        return self.images[key]
