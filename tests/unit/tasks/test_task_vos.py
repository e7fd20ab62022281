import pytest
import torch

from dvis_daq.tasks.vos import first_frame_overlap, tracks_of_objects


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
