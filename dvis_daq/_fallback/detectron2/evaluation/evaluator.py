"""What an evaluator is, and how its results are told."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from detectron2.utils import comm

__all__ = [
    "DatasetEvaluator",
    "DatasetEvaluators",
    "flatten_results_dict",
    "print_csv_format",
]


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


def flatten_results_dict(results: Mapping[str, Any]) -> dict[str, Any]:
    """`{"segm": {"AP": 1.0}}` becomes `{"segm/AP": 1.0}`."""
    flat: dict[str, Any] = {}
    for name, value in results.items():
        if isinstance(value, Mapping):
            inner = flatten_results_dict(value)
            flat.update({f"{name}/{key}": item for key, item in inner.items()})
        else:
            flat[name] = value
    return flat


def print_csv_format(results: Mapping[str, Any]) -> None:
    """Logs main metrics, those without `-` in their name, in lines to copy into a table."""
    assert isinstance(results, Mapping) or not results, results
    logger = logging.getLogger(__name__)
    for task, scores in results.items():
        if not isinstance(scores, Mapping):
            logger.info("copypaste: %s=%s", task, scores)
            continue
        main = {name: score for name, score in scores.items() if "-" not in name}
        logger.info("copypaste: Task: %s", task)
        logger.info("copypaste: %s", ",".join(main))
        logger.info("copypaste: %s", ",".join(f"{score:.4f}" for score in main.values()))
