"""A model and data that are small enough to train in milliseconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn

from dvis_daq.config import get_config


class StandIn(nn.Module):
    """A random number in one loss; the other depends on the iteration.

    Args:
        chance: with dropout and the random number.
    """

    def __init__(self, chance: bool = True) -> None:
        super().__init__()
        self.chance = chance
        self.segmenter = nn.ModuleDict({"backbone": nn.Linear(4, 8)})
        self.tracker = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8), nn.Dropout(0.5 * chance))
        self.queries = nn.Embedding(3, 8)

    def forward(self, videos: list[dict[str, Any]]) -> Any:
        x = torch.stack([video["images"] for video in videos]).to(self.queries.weight)
        y = self.tracker(self.segmenter["backbone"](x)) @ self.queries.weight.T
        if not self.training:
            return [{"score": float(row.sum())} for row in y]
        noise = torch.rand(()) if self.chance else 0.5
        return {
            "loss_a": (y - noise).square().mean(),
            "loss_b": y.abs().mean() * (1 + get_event_storage().iter),
        }


@META_ARCH_REGISTRY.register()
def stand_in(cfg: CfgNode) -> nn.Module:
    torch.manual_seed(1)
    return StandIn()


@META_ARCH_REGISTRY.register()
def certain_stand_in(cfg: CfgNode) -> nn.Module:
    """Without chance, in double precision."""
    torch.manual_seed(1)
    return StandIn(chance=False).double()


def stand_in_config(output: Path, *opts: Any) -> CfgNode:
    """Eight iterations, checkpoints every three, no evaluation."""
    settings = {
        "MODEL.META_ARCHITECTURE": "stand_in",
        "MODEL.DEVICE": "cpu",
        "MODEL.WEIGHTS": "",
        "OUTPUT_DIR": str(output),
        "DATASETS.TEST": "()",
        "SOLVER.MAX_ITER": "8",
        "SOLVER.STEPS": "(6,)",
        "SOLVER.BASE_LR": "0.01",
        "SOLVER.IMS_PER_BATCH": "2",
        "SOLVER.CHECKPOINT_PERIOD": "3",
        "SOLVER.WARMUP_ITERS": "2",
    }
    settings.update(zip(opts[::2], map(str, opts[1::2]), strict=True))
    return get_config(None, [word for pair in settings.items() for word in pair])


class Stream:
    """Endless batches; batch number n is a function of n. Starting it draws a number."""

    def __init__(self, cfg: CfgNode, start: int, share: slice = slice(None)) -> None:
        self.size, self.start, self.share = cfg.SOLVER.IMS_PER_BATCH, start, share

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        torch.rand(1)
        return self._batches()

    def _batches(self) -> Iterator[list[dict[str, Any]]]:
        number = self.start
        while True:
            rng = np.random.default_rng(number)
            images = torch.from_numpy(rng.normal(size=(self.size, 4))).float()
            batch = [
                {"images": image, "video_id": 10 * number + i, "frame_indices": [0, 1]}
                for i, image in enumerate(images)
            ]
            yield batch[self.share]
            number += 1


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)
