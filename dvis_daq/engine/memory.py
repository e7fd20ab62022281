"""How much memory a training step needs: measured where it runs, estimated from small steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.utils.events import EventStorage
from torch import nn

from dvis_daq.engine.costs import meter
from dvis_daq.engine.precision import Precision
from dvis_daq.structures import ClipTargets

_OBJECTS = 8  # in the made-up clips: a crowded video
_SHARES = (1 / 4, 3 / 8)  # of the side of a frame, in the steps that are measured
_MULTIPLE = 32  # pixels
_SIDE = 64  # pixels, the least side of a measured frame
_FLOAT = 4  # bytes


@dataclass(frozen=True)
class StepMemory:
    """Bytes of one process.

    Attributes:
        weights: parameters and buffers.
        optimizer: two moments of every parameter that learns.
        step: highest demand of a forward and backward pass, gradients included.
    """

    weights: int
    optimizer: int
    step: int

    @property
    def total(self) -> int:
        return self.weights + self.optimizer + self.step


def estimate(cfg: CfgNode, model: nn.Module, *, clips: int, size: tuple[int, int]) -> StepMemory:
    """Memory of a training step, from two small steps by a straight line in the pixels.

    Args:
        cfg: the whole configuration.
        model: in training mode; its gradients are gone afterwards.
        clips: in a batch of a process.
        size: (height, width) of a frame, in pixels.
    """
    small = [[max(_padded(side * share), _SIDE) for side in size] for share in _SHARES]
    points = [(h * w, measure_step(cfg, model, clips=clips, size=(h, w))) for h, w in small]
    (few, low), (many, high) = points
    pixels = _padded(size[0]) * _padded(size[1])
    slope = max(high - low, 0) / (many - few) if many > few else 0.0
    step = high + slope * max(pixels - many, 0)
    learns = sum(p.numel() for p in model.parameters() if p.requires_grad)
    weights = sum(t.nbytes for t in (*model.parameters(), *model.buffers()))
    return StepMemory(weights, 2 * _FLOAT * learns, int(step))


def _padded(side: float) -> int:
    """Pixels of a side as the segmenter pads it."""
    return math.ceil(side / _MULTIPLE) * _MULTIPLE


def measure_step(cfg: CfgNode, model: nn.Module, *, clips: int, size: tuple[int, int]) -> int:
    """Bytes that one forward and backward pass over made-up clips needs at most."""
    device = next(model.parameters()).device
    precision = Precision(cfg.SOLVER.PRECISION if device.type != "cpu" else "fp32", device)
    batch = [_made_up_clip(cfg, size) for _ in range(clips)]
    with EventStorage(cfg.SOLVER.MAX_ITER - 1), meter(device) as ruler:
        before = ruler.now()
        ruler.reset()
        with precision.autocast():
            losses = model(batch)
        precision.backward(sum(losses.values()))
        peak = ruler.peak() - before
    model.zero_grad(set_to_none=True)
    return peak


def _made_up_clip(cfg: CfgNode, size: tuple[int, int]) -> dict[str, Any]:
    """Noise with squares on it, which are there in all frames."""
    frames, (height, width) = cfg.INPUT.CLIP.FRAMES, size
    masks = torch.zeros(_OBJECTS, frames, height, width, dtype=torch.bool)
    side = min(size) // 4
    for index, mask in enumerate(masks):
        top, left = (index // 4) * side, (index % 4) * side
        mask[:, top : top + side, left : left + side] = True
    labels = torch.arange(_OBJECTS) % cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
    return {
        "images": torch.randint(256, (frames, 3, height, width), dtype=torch.uint8),
        "targets": ClipTargets(labels, masks, torch.arange(_OBJECTS)),
        "file_names": [f"made up, {height} x {width}, {t}" for t in range(frames)],
        "height": height,
        "width": width,
    }
