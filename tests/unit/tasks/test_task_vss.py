import pytest
import torch

from dvis_daq.tasks.resize import resized_probabilities
from dvis_daq.tasks.vss import semantic
from tests.unit.tasks.tiny_prediction import SIZES, make_prediction


def test_equals_the_sum_over_tracks() -> None:
    prediction = make_prediction([[(0, 0, 8, 8)] * 3] * 5, labels=[0, 1, 2, 3, 0])
    prediction.masks.copy_(3 * torch.randn(5, 3, 8, 8))
    masks = resized_probabilities(prediction.masks, SIZES)
    classes = prediction.logits.softmax(-1)[:, :-1]
    total = sum(c[:, None, None, None] * m for c, m in zip(classes, masks, strict=True))
    assert torch.equal(semantic(prediction, SIZES)["semantic"].long(), total.argmax(0))


def test_tracks_of_a_class_add_up() -> None:
    box = [(0, 0, 8, 8)]
    prediction = make_prediction([box, box, box], labels=[1, 1, 2], score=0.6)
    prediction.logits[2] = torch.tensor([0.05, 0.05, 0.8, 0.05, 0.05]).log()  # beats either
    assert (semantic(prediction, SIZES)["semantic"] == 1).all()


def test_every_pixel_has_a_class_even_without_tracks() -> None:
    labels = semantic(make_prediction([], labels=[]), SIZES)["semantic"]
    assert labels.shape == (2, 48, 60)
    assert labels.dtype == torch.int16
    assert not labels.any()


@pytest.mark.parametrize("budget", [1, 5000])
def test_pieces_change_nothing(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    prediction = make_prediction([[(0, 0, 8, 5)] * 3, [(2, 2, 6, 8)] * 3], labels=[0, 3])
    expected = semantic(prediction, SIZES)["semantic"]
    monkeypatch.setattr("dvis_daq.tasks.resize.by_frames.__defaults__", (budget,))
    monkeypatch.setattr("dvis_daq.tasks.vss.PIXEL_BUDGET", budget)
    assert torch.equal(semantic(prediction, SIZES)["semantic"], expected)
