from itertools import permutations

import pytest
import torch
from torch.nn import functional as F

from dvis_daq.tracker.anchors import (
    Queries,
    disappearance_anchors,
    emergence_anchors,
    nearest_initial_queries,
)


def similarity(rows: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    return F.cosine_similarity(rows[:, None], queries[None], dim=-1)


def test_rows_are_matched_one_to_one_by_the_best_sum() -> None:
    rows, queries = torch.randn(3, 8), torch.randn(5, 8)
    gain = similarity(rows, queries)
    best = max(permutations(range(5), 3), key=lambda p: sum(gain[i, j] for i, j in enumerate(p)))
    assert nearest_initial_queries(rows, queries).tolist() == list(best)


def test_rows_beyond_the_number_of_queries_take_their_nearest() -> None:
    rows, queries = torch.randn(9, 8), torch.randn(4, 8)
    index = nearest_initial_queries(rows, queries)
    nearest = similarity(rows, queries).argmax(1)
    assert set(index.tolist()) == {0, 1, 2, 3}
    assert (index != nearest).sum() <= 4  # the four of the assignment at most


def test_no_rows() -> None:
    assert nearest_initial_queries(torch.zeros(0, 8), torch.randn(4, 8)).shape == (0,)


def test_a_query_of_zeros_has_a_place_too() -> None:
    assert nearest_initial_queries(torch.zeros(1, 8), torch.randn(4, 8)).shape == (1,)


def test_rows_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        nearest_initial_queries(torch.full((1, 8), torch.nan), torch.randn(4, 8))


def test_half_precision_rows_are_compared_in_float32() -> None:
    rows = torch.randn(4, 8).bfloat16()
    assert nearest_initial_queries(rows, rows).tolist() == [0, 1, 2, 3]


def test_emergence_anchors_share_a_query_and_stand_at_the_candidates() -> None:
    query, candidates = torch.randn(1, 8), Queries(torch.randn(5, 8), torch.randn(5, 8))
    anchors = emergence_anchors(query, candidates)
    assert torch.equal(anchors.feature, query.repeat(5, 1))
    assert torch.equal(anchors.position, candidates.position)


def test_disappearance_anchors_begin_as_initial_queries() -> None:
    tracks = Queries(torch.randn(2, 8), torch.randn(2, 8))
    background, initial = torch.randn(3, 8), torch.randn(6, 8)
    anchors = disappearance_anchors(tracks, background, initial)
    assert torch.equal(anchors.feature, initial[anchors.initial])
    assert torch.equal(anchors.position, torch.cat([tracks.feature, background]))
    assert torch.equal(anchors.rivals, torch.cat([tracks.position, background]))
