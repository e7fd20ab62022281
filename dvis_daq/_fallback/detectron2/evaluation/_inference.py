"""Running a model over a data set, with the time it takes."""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from detectron2.evaluation.evaluator import DatasetEvaluator, DatasetEvaluators
from detectron2.utils import comm

__all__ = ["inference_context", "inference_on_dataset"]

_logger = logging.getLogger(__name__)

_LOG_SECONDS = 5.0
_WARMUP = 5  # batches that do not count


@contextmanager
def inference_context(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, the mode of before outside."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def inference_on_dataset(
    model: nn.Module | Callable[[Any], Any],
    data_loader: DataLoader,
    evaluator: DatasetEvaluator | list[DatasetEvaluator] | None,
    callbacks: Mapping[str, Callable[[], Any]] | None = None,
) -> dict[str, Any]:
    """Runs a model in evaluation mode and returns what the evaluator makes of it.

    Args:
        model: a module, or any function of a batch.
        data_loader: has a length.
        evaluator: one, a list, or None to only run the model.
        callbacks: functions for `on_start`, `on_end`, `before_inference`, `after_inference`.

    Returns:
        `evaluator.evaluate()`, `{}` instead of None.
    """
    if evaluator is None:
        evaluator = DatasetEvaluators([])
    elif isinstance(evaluator, list):
        evaluator = DatasetEvaluators(evaluator)
    callbacks = callbacks or {}

    total = len(data_loader)
    _logger.info("Start inference on %d batches", total)
    evaluator.reset()
    _call(callbacks, "on_start")
    in_evaluation = inference_context(model) if isinstance(model, nn.Module) else nullcontext()
    with torch.no_grad(), in_evaluation:
        laps = _Laps()
        last_line = time.perf_counter()
        for index, inputs in enumerate(data_loader):
            laps.end("data")
            if index == min(_WARMUP, total - 1):
                laps = _Laps()
            _call(callbacks, "before_inference")
            outputs = model(inputs)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            _call(callbacks, "after_inference")
            laps.end("compute")
            evaluator.process(inputs, outputs)
            laps.end("eval")
            laps.batches += 1
            if time.perf_counter() - last_line > _LOG_SECONDS:
                last_line = time.perf_counter()
                _logger.info("Inference done %d/%d. %s", index + 1, total, laps.each(total - index))
    _call(callbacks, "on_end")
    _tell("time", sum(laps.seconds.values()), laps.batches)
    _tell("pure compute time", laps.seconds["compute"], laps.batches)
    return evaluator.evaluate() or {}


def _call(callbacks: Mapping[str, Callable[[], Any]], name: str) -> None:
    if name in callbacks:
        callbacks[name]()


def _tell(what: str, seconds: float, batches: int) -> None:
    _logger.info(
        "Total inference %s: %s (%.6f s / iter per device, on %d devices)",
        what,
        datetime.timedelta(seconds=int(seconds)),
        seconds / max(batches, 1),
        comm.get_world_size(),
    )


class _Laps:
    """Seconds spent on data, model and evaluator."""

    def __init__(self) -> None:
        self.seconds = {"data": 0.0, "compute": 0.0, "eval": 0.0}
        self.batches = 0
        self._since = time.perf_counter()

    def end(self, phase: str) -> None:
        """Counts the time since the last call for `phase`."""
        now = time.perf_counter()
        self.seconds[phase] += now - self._since
        self._since = now

    def each(self, left: int) -> str:
        """Seconds per batch, and the time for the batches that are left."""
        data, compute, evaluation = (value / self.batches for value in self.seconds.values())
        both = data + compute + evaluation
        return (
            f"Dataloading: {data:.4f} s/iter. Inference: {compute:.4f} s/iter. "
            f"Eval: {evaluation:.4f} s/iter. Total: {both:.4f} s/iter. "
            f"ETA={datetime.timedelta(seconds=int(both * left))}"
        )
