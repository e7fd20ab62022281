"""What a training would do: iterations, data, memory, disk; and what would stop it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from detectron2.config import CfgNode
from torch import nn

from dvis_daq.data import datasets
from dvis_daq.data.loader import build_train_loader, check_batch, register_datasets
from dvis_daq.engine.adaptation import adapt
from dvis_daq.engine.checkpointer import Checkpointer
from dvis_daq.engine.memory import StepMemory, estimate
from dvis_daq.engine.optimizer import build_lr_scheduler, build_optimizer, scaled_rate
from dvis_daq.engine.precision import Precision
from dvis_daq.engine.setup import build_model
from dvis_daq.engine.start import load_start_weights

_GIB = 2**30
_CONTEXT = 0.6  # GiB that a GPU's context and libraries take; of recent cards


@dataclass(frozen=True)
class DataSize:
    """One data set of the configuration."""

    name: str
    use: str  # "train" | "test"
    videos: int
    frames: int


def dry_run(cfg: CfgNode, *, processes: int, resume: bool = False) -> Iterator[str]:
    """Looks at everything that a training needs, without training or writing anything.

    Args:
        cfg: the whole configuration.
        processes: that the training would have.
        resume: it would go on from a checkpoint.

    Yields:
        Lines of a report.

    Raises:
        ValueError, OSError: what would stop the training.
    """
    solver = cfg.SOLVER
    check_batch(cfg, processes)
    if cfg.MODEL.DEVICE == "cpu":
        Precision(solver.PRECISION, torch.device("cpu"))  # refuses what a CPU cannot
    clips = solver.IMS_PER_BATCH // processes
    model, done = _model(cfg, resume)
    sizes = list(data_sizes(cfg))
    yield f"recipe      {cfg.MODEL.META_ARCHITECTURE}, task {cfg.MODEL.TASK}"
    for size in sizes:
        yield f"{size.use:<11} {size.name}: {size.videos} videos, {size.frames} frames"
    first = next(iter(build_train_loader(cfg)))[0]
    yield f"first clip  video {first['video_id']}, images {tuple(first['images'].shape)}"

    step = solver.IMS_PER_BATCH * solver.ACCUMULATION
    videos = sum(size.videos for size in sizes if size.use == "train")
    yield (
        f"iterations  {solver.MAX_ITER - done} ({done} of {solver.MAX_ITER} are done), "
        f"{step} clips each: {processes} processes x {clips} clips x {solver.ACCUMULATION} rounds"
    )
    yield f"passes      {solver.MAX_ITER * step / videos:.1f} over {videos} videos"
    yield f"rate        {scaled_rate(cfg):g} at most, {solver.PRECISION}"
    frame = frame_size(cfg)
    memory = estimate(cfg, model, clips=clips, size=frame)
    yield from _memory_lines(memory, model, frame, cfg.INPUT.CLIP.FRAMES)
    yield _disk_line(cfg, memory)


def _model(cfg: CfgNode, resume: bool) -> tuple[nn.Module, int]:
    """The model with its weights, and the iterations that are done; checks what builds them."""
    if cfg.MODEL.DEVICE != "cpu" and not torch.cuda.is_available():
        cfg = cfg.clone()
        cfg.defrost()
        cfg.MODEL.DEVICE, cfg.SOLVER.PRECISION = "cpu", "fp32"
    model = adapt(cfg, build_model(cfg)).train()
    build_optimizer(cfg, model)
    build_lr_scheduler(cfg)
    rest = Checkpointer(model, cfg.OUTPUT_DIR).resume() if resume else None
    if rest is None:
        load_start_weights(cfg, model)
    return model, 0 if rest is None else rest["iteration"] + 1


def data_sizes(cfg: CfgNode) -> Iterator[DataSize]:
    """Size of each data set; the first and the last frame of every video must be there.

    Raises:
        ValueError: a data set cannot be read, or a frame is missing.
    """
    register_datasets(cfg)
    for use, names in (("train", cfg.DATASETS.TRAIN), ("test", cfg.DATASETS.TEST)):
        for name in names:
            records = datasets.load(name)
            for record in records:
                _check_frames(name, record["file_names"])
            yield DataSize(name, use, len(records), sum(len(r["file_names"]) for r in records))


def frame_size(cfg: CfgNode) -> tuple[int, int]:
    """(height, width) in pixels of the largest 16:9 training frame."""
    short = max(cfg.INPUT.MIN_SIZE_TRAIN)
    longest = cfg.INPUT.MAX_SIZE_TRAIN
    wide = round(short * 16 / 9)
    return (short, wide) if wide <= longest else (round(longest * 9 / 16), longest)


def _check_frames(name: str, files: list[str]) -> None:
    for file in (files[0], files[-1]):
        if not os.path.isfile(file):
            raise ValueError(f"data set '{name}': {file} is missing; check the image root")


def _memory_lines(
    memory: StepMemory, model: nn.Module, frame: tuple[int, int], frames: int
) -> Iterator[str]:
    numbers = [sum(p.numel() for p in model.parameters() if p.requires_grad or not only) / 1e6
               for only in (False, True)]  # fmt: skip
    yield f"model       {numbers[0]:.1f} M parameters, {numbers[1]:.1f} M of them learn"
    yield (
        f"memory      about {memory.total / _GIB + _CONTEXT:.1f} GiB a GPU for clips of {frames} "
        f"frames of {frame[0]} x {frame[1]}: weights {memory.weights / _GIB:.2f}, optimiser "
        f"{memory.optimizer / _GIB:.2f}, a step {memory.step / _GIB:.2f}, context {_CONTEXT}"
    )
    if torch.cuda.is_available():
        free = torch.cuda.get_device_properties(0).total_memory / _GIB
        yield f"            this GPU has {free:.1f} GiB"


def _disk_line(cfg: CfgNode, memory: StepMemory) -> str:
    """Raises OSError if the checkpoints do not fit."""
    folder = Path(cfg.OUTPUT_DIR).absolute()
    while not folder.exists():
        folder = folder.parent
    one = memory.weights + memory.optimizer
    kept = cfg.SOLVER.KEEP_CHECKPOINTS or max(
        cfg.SOLVER.MAX_ITER // max(cfg.SOLVER.CHECKPOINT_PERIOD, 1), 1
    )
    needed, free = one * (kept + 3), shutil.disk_usage(folder).free  # final, best, one in writing
    text = f"{needed / _GIB:.2f} GiB for checkpoints, {free / _GIB:.1f} GiB free in {folder}"
    if needed > free:
        raise OSError(f"{text}: free some, or set SOLVER.KEEP_CHECKPOINTS lower than {kept}")
    return f"disk        {text}"
