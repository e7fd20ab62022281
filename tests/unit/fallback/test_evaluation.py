"""Evaluation loop: contract 4.9, on both sides."""

import logging
from typing import Any

import pytest
import torch
from detectron2.data import build_detection_test_loader
from detectron2.evaluation import (
    DatasetEvaluator,
    DatasetEvaluators,
    inference_on_dataset,
    print_csv_format,
)
from torch import nn


class Adder(nn.Module):
    def forward(self, batch: list[int]) -> list[int]:
        assert not self.training and not torch.is_grad_enabled()
        return [item + 1 for item in batch]


class Sum(DatasetEvaluator):
    def __init__(self, name: str = "sum") -> None:
        self.name = name

    def reset(self) -> None:
        self.pairs: list[tuple[int, int]] = []

    def process(self, inputs: list[int], outputs: list[int]) -> None:
        self.pairs += zip(inputs, outputs, strict=True)

    def evaluate(self) -> dict[str, Any]:
        return {self.name: {"total": sum(out for _, out in self.pairs)}}


@pytest.fixture
def loader() -> Any:
    return build_detection_test_loader(list(range(8)), mapper=None)


@pytest.mark.parametrize("training", [True, False])
def test_model_is_put_back(loader: Any, training: bool) -> None:
    model = Adder().train(training)
    assert inference_on_dataset(model, loader, Sum()) == {"sum": {"total": 36}}
    assert model.training is training


def test_log_lines(loader: Any, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("detectron2").propagate = True
    with caplog.at_level(logging.INFO):
        inference_on_dataset(Adder(), loader, Sum())
    assert "Start inference on 8 batches" in caplog.text
    assert "Total inference time:" in caplog.text and "on 1 devices" in caplog.text
    assert "Total inference pure compute time:" in caplog.text


def test_several_evaluators_or_none(loader: Any) -> None:
    results = inference_on_dataset(Adder(), loader, [Sum("a"), Sum("b")])
    assert list(results) == ["a", "b"]
    assert inference_on_dataset(Adder(), loader, None) == {}
    with pytest.raises(AssertionError):
        inference_on_dataset(Adder(), loader, [Sum("a"), Sum("a")])


def test_none_as_result(loader: Any) -> None:
    assert inference_on_dataset(Adder(), loader, DatasetEvaluator()) == {}
    both = DatasetEvaluators([DatasetEvaluator(), Sum()])
    assert list(inference_on_dataset(Adder(), loader, both)) == ["sum"]


def test_single_batch() -> None:
    loader = build_detection_test_loader([1], mapper=None)
    assert inference_on_dataset(lambda batch: batch, loader, Sum()) == {"sum": {"total": 1}}


def test_csv_lines(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("detectron2").propagate = True
    with caplog.at_level(logging.INFO):
        print_csv_format({"segm": {"AP": 12.34567, "AP-car": 1.0, "AP50": 2.0}, "speed": 3})
    assert [record.getMessage() for record in caplog.records] == [
        "copypaste: Task: segm",
        "copypaste: AP,AP50",
        "copypaste: 12.3457,2.0000",
        "copypaste: speed=3",
    ]
