"""Results of a video are made while the network runs over the next one.

A model that is evaluated says of a video what its result will be made of; a thread makes it:
masks are resized, cut at their threshold and encoded, and the next video does not wait.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from detectron2.evaluation import DatasetEvaluator
from torch import nn

Result = dict[str, Any]


class Runner(Protocol):
    """A model whose results can be made later."""

    training: bool

    def run(self, video: dict[str, Any]) -> Callable[[], Result]: ...


class Overlapped(nn.Module):
    """Stands for a model in `inference_on_dataset`; its outputs are promises for `OneBehind`.

    Args:
        model: an `nn.Module` with `run`.
    """

    def __init__(self, model: Runner) -> None:
        super().__init__()
        self.model = model
        self.train(model.training)  # what Detectron2 restores at the end
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="results")

    def forward(self, videos: list[dict[str, Any]]) -> list[Future[Result]]:
        """Runs the network over videos, as the model takes them."""
        return [self._thread.submit(self.model.run(video)) for video in videos]


class OneBehind(DatasetEvaluator):
    """Hands results to an evaluator when the network is through with the next video.

    At most the results of one batch wait, whatever the number of videos.

    Args:
        evaluator: gets what it would without overlap, in the same order.
    """

    def __init__(self, evaluator: DatasetEvaluator) -> None:
        self.evaluator = evaluator
        self._waiting: tuple[list[dict[str, Any]], list[Future[Result]]] | None = None

    def reset(self) -> None:
        self._waiting = None
        self.evaluator.reset()

    def process(self, inputs: list[dict[str, Any]], outputs: list[Future[Result]]) -> None:
        """Takes videos and their promised results.

        Raises:
            Exception: what the result of an earlier video failed with.
        """
        self._hand_on()
        self._waiting = inputs, outputs

    def evaluate(self) -> Any:
        """The figures of the evaluator."""
        self._hand_on()
        return self.evaluator.evaluate()

    def _hand_on(self) -> None:
        if self._waiting is not None:
            (inputs, outputs), self._waiting = self._waiting, None
            self.evaluator.process(inputs, [promised.result() for promised in outputs])
