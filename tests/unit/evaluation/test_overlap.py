"""Results are made in a thread, one video behind the network."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from detectron2.evaluation import DatasetEvaluator, inference_on_dataset
from torch import nn

from dvis_daq.evaluation.overlap import OneBehind, Overlapped


class Recorder(nn.Module):
    """Notes what happens; the result of a video is its number squared."""

    def __init__(self, breaks: int = -1) -> None:
        super().__init__()
        self.breaks = breaks
        self.log: list[str] = []
        self.next_began = threading.Event()

    def run(self, video: dict[str, Any]) -> Callable[[], dict[str, Any]]:
        number = video["number"]
        self.log.append(f"run {number}")
        if number:
            self.next_began.set()

        def make() -> dict[str, Any]:
            if number == 0:  # would wait for ever if the network waited for it
                assert self.next_began.wait(timeout=30)
            if number == self.breaks:
                raise OSError(f"video {number}")
            return {"square": number**2, "thread": threading.current_thread().name}

        return make


class Squares(DatasetEvaluator):
    def reset(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        assert all(output["thread"].startswith("results") for output in outputs)
        self.seen += [
            (video["number"], output["square"])
            for video, output in zip(inputs, outputs, strict=True)
        ]

    def evaluate(self) -> dict[str, Any]:
        return {"squares": {"sum": float(sum(square for _, square in self.seen))}}


def loader(videos: int) -> list[list[dict[str, Any]]]:
    return [[{"number": number}] for number in range(videos)]


def test_every_video_is_scored_once_and_in_order() -> None:
    model, squares = Recorder(), Squares()
    figures = inference_on_dataset(Overlapped(model), loader(4), OneBehind(squares))
    assert figures == {"squares": {"sum": 0 + 1 + 4 + 9}}
    assert squares.seen == [(0, 0), (1, 1), (2, 4), (3, 9)]
    assert model.log == ["run 0", "run 1", "run 2", "run 3"]


def test_a_second_evaluation_does_not_see_the_first() -> None:
    evaluator = OneBehind(Squares())
    evaluator.reset()
    model = Overlapped(Recorder())
    evaluator.process([{"number": 3}], model([{"number": 3}]))
    assert inference_on_dataset(model, loader(2), evaluator) == {"squares": {"sum": 1.0}}


@pytest.mark.parametrize("breaks", [1, 3])  # within, and the last
def test_what_fails_in_the_thread_ends_the_evaluation(breaks: int) -> None:
    with pytest.raises(OSError, match=f"video {breaks}"):
        inference_on_dataset(Overlapped(Recorder(breaks)), loader(4), OneBehind(Squares()))


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_the_model_is_restored(training: bool) -> None:
    model = Recorder().train(training)
    modes: list[bool] = []
    model.register_buffer("none", torch.zeros(0))
    run = model.run

    def watched(video: dict[str, Any]) -> Callable[[], dict[str, Any]]:
        modes.append(model.training)
        return run(video)

    model.run = watched  # type: ignore[method-assign]
    inference_on_dataset(Overlapped(model), loader(2), OneBehind(Squares()))
    assert modes == [False, False] and model.training is training
