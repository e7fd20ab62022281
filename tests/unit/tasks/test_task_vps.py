import pytest
import torch

from dvis_daq.structures import VideoPrediction
from dvis_daq.tasks.vps import Panoptic, panoptic
from tests.unit.tasks.tiny_prediction import SIZES, make_prediction

LEFT, RIGHT, ALL = (0, 0, 8, 4), (0, 4, 8, 8), (0, 0, 8, 8)
THINGS = 2  # classes 0 and 1; 2 and 3 are stuff


def run(boxes: list, labels: list[int], score: float = 0.95, **options) -> Panoptic:
    prediction = make_prediction(boxes, labels, score)
    return panoptic(prediction, SIZES, num_things=THINGS, **options)


def test_things_are_counted_in_order_of_birth() -> None:
    result = run([[RIGHT, RIGHT], [LEFT, LEFT]], labels=[1, 1])
    assert [(s["id"], s["track"], s["isthing"]) for s in result["segments"]] == [
        (1, 10, True),
        (2, 11, True),
    ]
    assert result["panoptic"].shape == (2, 48, 60)
    assert result["panoptic"].dtype == torch.int16
    assert (result["panoptic"][:, :, :20] == 2).all()
    assert (result["panoptic"][:, :, -20:] == 1).all()


def test_stuff_of_one_class_is_one_segment() -> None:
    result = run([[LEFT, LEFT], [RIGHT, None], [None, RIGHT]], labels=[2, 3, 2])
    assert [(s["id"], s["category_id"], s["track"]) for s in result["segments"]] == [
        (1, 2, 10),
        (2, 3, 11),
    ]
    assert (result["panoptic"][1, :, -20:] == 1).all()


def test_background_and_weak_tracks_are_left_out() -> None:
    assert run([[ALL, ALL]], labels=[-1])["segments"] == []
    result = run([[ALL, ALL]], labels=[1], score=0.7)
    assert result["segments"] == []
    assert not result["panoptic"].any()
    assert run([[ALL, ALL]], labels=[1], score=0.7, score_threshold=0.6)["segments"]


def test_a_track_that_loses_most_of_its_area_is_dropped() -> None:
    """Over the whole video: the second keeps all of its area in one of two frames."""
    prediction = make_prediction([[ALL, None], [LEFT, LEFT]], labels=[0, 1])
    prediction.logits[0] = torch.tensor([10.0, 0, 0, 0, 0])
    options = {"num_things": THINGS, "score_threshold": 0.5}
    both = panoptic(prediction, SIZES, **options, overlap_threshold=0.4)
    assert [s["track"] for s in both["segments"]] == [10, 11]
    one = panoptic(prediction, SIZES, **options, overlap_threshold=0.8)
    assert [s["track"] for s in one["segments"]] == [10]
    assert not one["panoptic"][1].any()


def test_a_track_that_is_nowhere_is_dropped() -> None:
    result = run([[None, None], [LEFT, LEFT]], labels=[0, 1])
    assert [s["track"] for s in result["segments"]] == [11]


def test_every_segment_has_pixels_and_every_pixel_a_segment() -> None:
    torch.manual_seed(3)
    prediction = make_prediction([[LEFT] * 2] * 6, labels=[0, 1, 2, 3, 2, 1])
    prediction.masks.copy_(4 * torch.randn(6, 2, 8, 8))
    result = panoptic(
        prediction, SIZES, num_things=THINGS, score_threshold=0.5, overlap_threshold=0.1
    )
    ids = {segment["id"] for segment in result["segments"]}
    assert ids == set(result["panoptic"].unique().tolist()) - {0}
    assert ids == set(range(1, len(ids) + 1))


def test_no_tracks_give_an_empty_map_of_the_output_size() -> None:
    result = run([], labels=[])
    assert result["panoptic"].shape == (2, 48, 60)
    assert not result["panoptic"].any()
    assert result["segments"] == []


@pytest.mark.parametrize("budget", [1, 48 * 60, 3 * 48 * 60, 10**9])
def test_pieces_of_many_tracks(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    masks, logits = torch.randn(5, 4, 8, 8), torch.randn(5, 5)
    masks[:, 0] = -1e4  # nobody: of equal ones the first wins
    prediction = VideoPrediction(torch.arange(5), logits, masks)
    options = {"num_things": 2, "score_threshold": 0.0, "overlap_threshold": 0.0}
    expected = panoptic(prediction, SIZES, **options)
    monkeypatch.setattr("dvis_daq.tasks.resize.by_tracks.__defaults__", (budget,))
    result = panoptic(prediction, SIZES, **options)
    assert torch.equal(result["panoptic"], expected["panoptic"])
    assert result["segments"] == expected["segments"]
    assert len(result["segments"]) > 1


@pytest.mark.parametrize("budget", [1, 10**9])
def test_pieces_change_nothing(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = [[LEFT, RIGHT, ALL], [RIGHT, RIGHT, LEFT]]
    expected = run(boxes, labels=[0, 2], overlap_threshold=0.2)
    monkeypatch.setattr("dvis_daq.tasks.resize.by_tracks.__defaults__", (budget,))
    result = run(boxes, labels=[0, 2], overlap_threshold=0.2)
    assert torch.equal(result["panoptic"], expected["panoptic"])
    assert result["segments"] == expected["segments"]
