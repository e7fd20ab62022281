import pytest
import torch

from dvis_daq.structures import ClipTargets
from dvis_daq.tasks import resize
from dvis_daq.tasks.vos import (
    at_stride_4,
    first_frame_overlap,
    mask_overlap,
    objects,
    tracks_of_objects,
)
from tests.unit.tasks.tiny_prediction import SIZES, make_prediction


def squares(*corners: int) -> torch.Tensor:
    """(n, 8, 8) bool, one 3 x 3 square for each corner on the diagonal."""
    masks = torch.zeros(len(corners), 8, 8, dtype=torch.bool)
    for mask, corner in zip(masks, corners, strict=True):
        mask[corner : corner + 3, corner : corner + 3] = True
    return masks


def test_overlap_is_of_truncated_logits():
    masks = torch.tensor([[[2.9, -0.9], [-1.2, 0.4]]])  # truncated: 2, 0, -1, 0
    objects = torch.tensor([[[True, False], [False, False]]])
    overlap = first_frame_overlap(masks, objects)  # 2 / (1 + 1 - 2)
    torch.testing.assert_close(overlap, torch.full((1, 1), 2e6), rtol=1e-3, atol=0.0)


def test_logits_saturate_at_eight_bits():
    objects = squares(0)
    masks = torch.full((1, 8, 8), 1e4)
    torch.testing.assert_close(
        first_frame_overlap(masks, objects), first_frame_overlap(masks.clamp(max=127), objects)
    )


def test_half_precision_logits_do_not_overflow_in_the_sum():
    masks = torch.full((1, 64, 64), 100.0, dtype=torch.float16)
    objects = torch.ones(1, 64, 64, dtype=torch.bool)
    assert first_frame_overlap(masks, objects).isfinite().all()


def test_each_object_has_its_track():
    tracks = torch.where(squares(5, 0, 2), 1.0, 0.0)
    assert tracks_of_objects(tracks, squares(0, 5)).tolist() == [1, 0]


def test_more_objects_than_tracks():
    tracks = torch.where(squares(5), 1.0, 0.0)
    assert tracks_of_objects(tracks, squares(0, 5)).tolist() == [-1, 0]


def test_nothing_to_match():
    assert tracks_of_objects(torch.zeros(3, 8, 8), squares()).tolist() == []
    assert tracks_of_objects(torch.zeros(0, 8, 8), squares(1)).tolist() == [-1]


def test_sizes_must_agree():
    with pytest.raises(ValueError, match=r"\(1, 4, 4\).*\(1, 8, 8\)"):
        first_frame_overlap(torch.zeros(1, 4, 4), squares(0))


@pytest.mark.parametrize("overlap", [first_frame_overlap, mask_overlap])
def test_both_refuse_other_sizes(overlap):
    with pytest.raises(ValueError, match="differ in height or width"):
        overlap(torch.zeros(1, 4, 4), squares(0))


def test_iou_finds_what_the_release_mistakes():
    tracks = torch.where(squares(5, 0), 6.0, -8.0)
    assert tracks_of_objects(tracks, squares(0, 5), mask_overlap).tolist() == [1, 0]
    assert tracks_of_objects(tracks, squares(0, 5)).tolist() == [0, 1]


def test_no_overlap_is_no_track():
    tracks = torch.where(squares(5), 6.0, -8.0)
    assert mask_overlap(tracks, squares(5)).tolist() == [[1]]
    assert tracks_of_objects(tracks, squares(0), mask_overlap).tolist() == [-1]


def given(*boxes, ids):
    """Objects of the first frame at the output size, from boxes at stride 4 of the input."""
    masks = torch.zeros(len(boxes), 1, *SIZES.output, dtype=torch.bool)
    for mask, (top, left, bottom, right) in zip(masks, boxes, strict=True):
        mask[:, 8 * top : 8 * bottom, 8 * left : 8 * right] = True
    return ClipTargets(torch.zeros(len(boxes), dtype=torch.int64), masks, torch.tensor(ids))


A, B, C = (0, 0, 3, 3), (3, 4, 6, 7), (0, 4, 2, 6)


def test_given_masks_as_the_network_sees_them():
    small = at_stride_4(given(A, B, ids=[1, 2]).masks[:, 0], SIZES, (8, 8))
    wanted = torch.zeros(2, 8, 8, dtype=torch.bool)
    wanted[0, :3, :3] = wanted[1, 3:6, 4:7] = True
    assert torch.equal(small, wanted)


def test_objects_are_followed_under_their_numbers():
    tracks = make_prediction([[A, B], [B, A], [C, C]], [0, 1, 2])  # ids 10, 11, 12
    result = objects(tracks, SIZES, given(B, A, ids=[7, 3]), max_tracks=3, overlap=mask_overlap)
    assert (result["numbers"], result["tracks"]) == ([3, 7], [10, 11])
    labels = result["objects"]
    assert labels.shape == (2, *SIZES.output)
    assert [int(frame[4, 4]) for frame in labels] == [3, 7]
    assert [int(frame[36, 44]) for frame in labels] == [7, 3]
    assert labels.unique().tolist() == [0, 3, 7]  # C is no given object


def test_lower_number_wins():
    tracks = make_prediction([[A, C], [B, C]], [0, 1])
    first = given(B, A, ids=[2, 5])
    labels = objects(tracks, SIZES, first, max_tracks=2, overlap=mask_overlap)["objects"]
    assert labels[1].unique().tolist() == [0, 2]


def test_only_the_best_tracks_are_considered():
    tracks = make_prediction([[B, B], [A, A]], [0, -1])
    result = objects(tracks, SIZES, given(A, ids=[1]), max_tracks=1, overlap=mask_overlap)
    assert result["tracks"] == [-1]
    assert not result["objects"].any()


@pytest.mark.parametrize("boxes", [[], [[A, A]]])
def test_nothing_given_or_found(boxes):
    first = given(*([A] if not boxes else []), ids=[1] if not boxes else [])
    tracks = make_prediction(boxes, [0] * len(boxes))
    assert not objects(tracks, SIZES, first, max_tracks=9, overlap=mask_overlap)["objects"].any()


def test_the_pieces_do_not_matter(monkeypatch):
    tracks = make_prediction([[A, B, A], [B, A, C]], [0, 1])
    first = given(A, B, ids=[1, 2])
    whole = objects(tracks, SIZES, first, max_tracks=2, overlap=mask_overlap)["objects"]
    monkeypatch.setattr(resize.by_frames, "__defaults__", (1,))  # one frame at a time
    pieces = objects(tracks, SIZES, first, max_tracks=2, overlap=mask_overlap)["objects"]
    assert torch.equal(whole, pieces)
