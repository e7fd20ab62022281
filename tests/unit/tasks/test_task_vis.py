import numpy as np
import pytest
import torch

from dvis_daq.structures import VideoPrediction
from dvis_daq.tasks import resize
from dvis_daq.tasks.resize import resized
from dvis_daq.tasks.vis import decode, encode, encode_tracks, instances, top_pairs
from tests.unit.tasks.tiny_prediction import SIZES, make_prediction


def random_prediction(tracks: int = 5, frames: int = 4) -> VideoPrediction:
    masks = torch.randn(tracks, frames, 8, 8)
    return VideoPrediction(torch.arange(tracks) * 3, 2 * torch.randn(tracks, 5), masks)


def test_best_pairs_of_track_and_class() -> None:
    prediction = random_prediction()
    result = instances(prediction, SIZES, max_instances=7)
    scores = prediction.logits.softmax(-1)[:, :4]
    assert result["scores"].tolist() == sorted(scores.flatten().tolist(), reverse=True)[:7]
    masks = (resized(prediction.masks, SIZES) > 0).numpy()
    for n in range(7):
        row = int(result["ids"][n]) // 3
        assert scores[row, result["labels"][n]] == result["scores"][n]
        assert np.array_equal(decode(result["masks"][n], SIZES.output), masks[row])


def test_one_track_may_have_several_labels_and_shares_its_masks() -> None:
    result = instances(random_prediction(tracks=1), SIZES, max_instances=3)
    assert result["ids"].tolist() == [0, 0, 0]
    assert len(set(result["labels"].tolist())) == 3
    assert result["masks"][0] is result["masks"][1] is result["masks"][2]


def test_fewer_pairs_than_asked_for() -> None:
    assert len(instances(random_prediction(tracks=2), SIZES, max_instances=100)["scores"]) == 8


def test_no_tracks() -> None:
    result = instances(random_prediction(tracks=0), SIZES, max_instances=10)
    assert (len(result["scores"]), len(result["ids"]), result["masks"]) == (0, 0, [])


def test_an_empty_mask_is_none() -> None:
    prediction = make_prediction([[(0, 0, 4, 4), None]], labels=[1])
    [masks] = instances(prediction, SIZES, max_instances=1)["masks"]
    assert masks[0]["size"] == [48, 60]
    assert isinstance(masks[0]["counts"], str)
    assert masks[1] is None
    assert not decode(masks, SIZES.output)[1].any()


def test_only_tracks_that_are_reported_are_resized(monkeypatch: pytest.MonkeyPatch) -> None:
    prediction = make_prediction([[(0, 0, 4, 4)]] * 6, labels=[1, -1, -1, 2, -1, -1])
    asked = []

    def counting(masks, sizes):
        asked.append(masks.shape[0])
        return resized(masks, sizes)

    monkeypatch.setattr("dvis_daq.tasks.vis.resized", counting)
    result = instances(prediction, SIZES, max_instances=2)
    assert sorted(result["ids"].tolist()) == [10, 13]
    assert asked == [2]


def test_memory_is_bounded_by_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = []
    bilinear = resize._bilinear

    def watched(maps, size):
        out = bilinear(maps, size)
        largest.append(out.numel())
        return out

    monkeypatch.setattr(resize, "_bilinear", watched)
    budget = 3 * 2 * 48 * 60
    monkeypatch.setattr(resize.by_frames, "__defaults__", (budget,))
    encode_tracks(torch.randn(3, 7, 8, 8), SIZES)
    assert max(largest) <= budget


def test_encoding_round_trip() -> None:
    masks = torch.rand(3, 7, 9) < 0.4
    assert np.array_equal(decode(encode(masks), (7, 9)), masks.numpy())


def test_top_pairs_are_best_first() -> None:
    scores, labels, rows = top_pairs(torch.tensor([[0.1, 0.7, 0.2], [0.9, 0.05, 0.05]]), 2)
    assert (rows.tolist(), labels.tolist()) == ([1, 0], [0, 1])
    assert scores[0] > scores[1]
