"""CPU seconds by part of a pipeline, measured around its functions and modules."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest import mock

import torch
from torch import nn

import dvis_daq.tasks.vis
import dvis_daq.tracker.bank
import dvis_daq.tracker.daq
import dvis_daq.tracker.loop
from benchmarks.literal import LiteralModel, inference, tracker
from dvis_daq.data.images import LazyClip
from dvis_daq.segmenter import Segmenter
from dvis_daq.structures import MaskProducts
from dvis_daq.tracker.bank import TrackBank
from dvis_daq.tracker.state import Lifecycle

# row: (owner, name of the function); what is called within another row counts for the inner one
OURS: list[tuple[str, Any, str]] = [
    ("decode", LazyClip, "__getitem__"),
    ("copy", Segmenter, "normalize"),
    ("heads", MaskProducts, "dense"),
    ("pooling", dvis_daq.tracker.daq, "mask_pool"),
    ("life cycle", dvis_daq.tracker.loop, "advance"),
    ("life cycle", Lifecycle, "seen"),
    ("life cycle", TrackBank, "add"),
    ("life cycle", TrackBank, "drain"),
    ("post", dvis_daq.tasks.vis, "encode_tracks"),
    ("RLE", dvis_daq.tasks.vis, "encode"),
]
THEIRS: list[tuple[str, Any, str]] = [
    ("segmenter", inference, "segment"),
    ("life cycle", LiteralModel, "step"),  # what is left of it
    ("pooling", tracker, "pool"),
    ("tracker 1", tracker, "emergence"),
    ("tracker 2", tracker, "disappearance"),
    ("heads", tracker, "predict"),
    ("heads", tracker, "projected"),
    ("post", LiteralModel, "result"),
    ("RLE", inference.coco, "encode"),
]
MODULES = {
    "segmenter": "segmenter",
    "tracker.emergence": "tracker 1",
    "tracker.disappearance": "tracker 2",
    "tracker.head": "heads",
    "tracker.appearance_mlp": "heads",
}


class Stopwatch:
    """Adds up the time of nested parts, each without the parts inside it.

    Args:
        device: an accelerator is waited for around each part.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.spent: Counter[str] = Counter()
        self._inner: list[float] = []

    def install(self, stack: ExitStack, system: Any, *, modules: bool = True) -> None:
        """Measures the parts of a system until `stack` is closed.

        Args:
            modules: also those of MODULES; False for compiled ones, which nothing may enter.
        """
        functions = THEIRS if isinstance(system, LiteralModel) else OURS
        for row, owner, name in functions:
            stack.enter_context(
                mock.patch.object(owner, name, self.timed(row, getattr(owner, name)))
            )
        if modules and isinstance(system, nn.Module):
            for name, row in MODULES.items():
                module = system.get_submodule(name)
                module.forward = self.timed(row, module.forward)

    def timed(self, row: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, measured; a method stays one."""

        def measured(*args: Any, **kwargs: Any) -> Any:
            self._inner.append(0.0)
            start = self.now()
            try:
                return function(*args, **kwargs)
            finally:
                spent = self.now() - start
                self.spent[row] += spent - self._inner.pop()
                if self._inner:
                    self._inner[-1] += spent

        return measured

    def now(self) -> float:
        """Seconds; CPU time of the process, or, on an accelerator, of the wall."""
        if self.device.type == "cpu":
            return time.process_time()
        torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def parts(self, total: float) -> dict[str, float]:
        """Seconds by part, and what no part accounts for."""
        return dict(self.spent) | {"rest": total - sum(self.spent.values())}
