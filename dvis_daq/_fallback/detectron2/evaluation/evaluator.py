"""What an evaluator is."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from detectron2.utils import comm

__all__ = ["DatasetEvaluator", "DatasetEvaluators"]


class DatasetEvaluator:
    """Sees all inputs and outputs of a model, then sums up."""

    def reset(self) -> None:
        """Before a round of evaluation."""

    def process(self, inputs: list[Any], outputs: list[Any]) -> None:
        """One batch.

        Args:
            inputs: what the model was given.
            outputs: what it returned, item by item.
        """

    def evaluate(self) -> dict[str, Any] | None:
        """Returns `{task: {metric: score}}` in the main process, may return None in others."""


class DatasetEvaluators(DatasetEvaluator):
    """Several evaluators as one.

    Args:
        evaluators: their results must not have a task in common.
    """

    def __init__(self, evaluators: Sequence[DatasetEvaluator]) -> None:
        self._evaluators = evaluators

    def reset(self) -> None:
        for evaluator in self._evaluators:
            evaluator.reset()

    def process(self, inputs: list[Any], outputs: list[Any]) -> None:
        for evaluator in self._evaluators:
            evaluator.process(inputs, outputs)

    def evaluate(self) -> dict[str, Any]:
        results: dict[str, Any] = OrderedDict()
        for evaluator in self._evaluators:
            part = evaluator.evaluate()
            if not comm.is_main_process() or part is None:
                continue
            for name, value in part.items():
                assert name not in results, f"Two evaluators produce results with the key {name}"
                results[name] = value
        return results
