import pytest
import torch

from dvis_daq.evaluation.transition_gap import transition_gap


def test_equal_and_opposite_features():
    anchors = torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0]])
    gap = transition_gap(anchors, torch.tensor([[3.0, 4.0], [-1.0, 0.0], [5.0, 0.0]]))
    torch.testing.assert_close(gap.cosine, torch.tensor([1.0, -1.0, 0.0]))
    expected = torch.tensor([0.0, 1.0, 29**0.5 / 7])
    torch.testing.assert_close(gap.distance, expected)


def test_the_two_columns_of_the_paper_agree():
    """CS 0.08 goes with NED 0.68 and CS 0.32 with 0.58, for features of equal length."""
    cosine = torch.tensor([0.08, 0.32])
    anchors = torch.tensor([[1.0, 0.0]] * 2)
    features = torch.stack([cosine, (1 - cosine**2).sqrt()], dim=1)
    gap = transition_gap(5 * anchors, 5 * features)
    torch.testing.assert_close(gap.cosine, cosine)
    torch.testing.assert_close(gap.distance, ((1 - cosine) / 2).sqrt())
    assert [round(value, 2) for value in gap.distance.tolist()] == [0.68, 0.58]


def test_no_events_and_zero_features():
    assert len(transition_gap(torch.zeros(0, 8), torch.zeros(0, 8)).cosine) == 0
    assert transition_gap(torch.zeros(1, 8), torch.zeros(1, 8)).distance.tolist() == [0]


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"\(2, 8\).*\(3, 8\)"):
        transition_gap(torch.zeros(2, 8), torch.zeros(3, 8))
