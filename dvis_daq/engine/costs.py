"""What a module costs: parameters, operations, time and memory, by part.

Operations are those of fvcore: a multiplication with its addition is one, and what is done
element by element is free. Memory is what a part needs beyond what there was when it began.
"""

from __future__ import annotations

import logging
import math
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from dvis_daq.environment import quiet_fvcore

with quiet_fvcore():
    from fvcore.nn import FlopCountAnalysis


@dataclass(frozen=True)
class Stage:
    """A module that runs by itself, and the parts of it that are told apart.

    Attributes:
        name: of the row of the module, without its parts unless `whole`.
        module: what runs.
        parts: modules within, by the name of their row.
        run: one run.
        owned: parameters outside of `parts` that belong to one of them, by its row.
        whole: whether the module's own row includes its parts.
    """

    name: str
    module: nn.Module
    parts: Mapping[str, nn.Module]
    run: Callable[[], Any]
    owned: Mapping[str, Sequence[nn.Module]] = field(default_factory=dict)
    whole: bool = False


def by_row(stage: Stage, total: float, inner: Mapping[str, float]) -> dict[str, Any]:
    """The parts of a stage, and what is left of it under its own name.

    Where `whole` is set the row of the stage includes its parts.
    """
    if stage.whole:
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
    return Counter({"attention": 2 * math.prod(query) * key[-2]})


def bag_operations(inputs: list[Any], outputs: list[Any]) -> Counter:
    """Weighted sum of rows of a table."""
    table, rows = (value.type().sizes() for value in inputs[:2])
    return Counter({"sampling": math.prod(rows) * table[-1]})


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
