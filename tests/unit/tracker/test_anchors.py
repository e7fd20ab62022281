from dataclasses import replace
from itertools import permutations

import pytest
import torch
from torch.nn import functional as F

from dvis_daq.structures import foreground_score
from dvis_daq.tracker.anchors import (
    Concatenated,
    DisappearanceAnchors,
    EmergenceAnchors,
    LearnedStart,
    Queries,
    added,
    candidate_appearance,
    candidate_position,
    candidate_query,
    nearest_initial_queries,
    track_query,
)
from tests.unit.tracker.tiny_tracker import make_video


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
    anchors = EmergenceAnchors()(query, candidates, make_video(1, candidates=5))
    assert torch.equal(anchors.feature, query.repeat(5, 1))
    assert torch.equal(anchors.position, candidates.position)


def test_disappearance_anchors_begin_as_initial_queries() -> None:
    tracks = Queries(torch.randn(2, 8), torch.randn(2, 8))
    background, initial = torch.randn(3, 8), torch.randn(6, 8)
    anchors = DisappearanceAnchors()(tracks, background, initial)
    assert torch.equal(anchors.feature, initial[anchors.initial])
    assert torch.equal(anchors.position, torch.cat([tracks.feature, background]))
    assert torch.equal(anchors.rivals, torch.cat([tracks.position, background]))


def test_the_best_candidates_get_all_learned_queries() -> None:
    query, frame = torch.randn(2, 8), make_video(1, candidates=6)
    candidates = Queries(torch.randn(6, 8), torch.randn(6, 8))
    anchors = EmergenceAnchors(top_k=3)(query, candidates, frame)
    best = foreground_score(frame.logits[0]).argsort(descending=True)[:3]
    assert torch.equal(anchors.feature, query.repeat(3, 1))
    assert torch.equal(anchors.position, candidates.position[best].repeat_interleave(2, 0))
    assert len(EmergenceAnchors(top_k=9)(query, candidates, frame).feature) == 12


def test_features_that_anchors_may_take() -> None:
    candidates = Queries(torch.randn(6, 8), torch.randn(6, 8))
    frame = replace(make_video(1), query_positions=torch.randn(6, 8))
    assert candidate_appearance(candidates, frame) is candidates.position
    assert candidate_query(candidates, frame) is candidates.feature
    assert candidate_position(candidates, frame) is frame.query_positions
    with pytest.raises(ValueError, match="EMERGENCE_FEATURE than SegP"):
        candidate_position(candidates, make_video(1))


def test_features_that_are_no_positions_are_in_the_query() -> None:
    query, feature = torch.randn(3, 8), torch.randn(3, 8)
    assert torch.equal(added(query, feature).feature, query + feature)
    cat = Concatenated(8)
    mixed = cat(query, feature).feature
    weight, bias = cat.mix.weight, cat.mix.bias
    expected = query @ weight[:, :8].T + feature @ weight[:, 8:].T + bias
    torch.testing.assert_close(mixed, expected)
    assert not added(query, feature).position.any() and not cat(query, feature).position.any()


def test_disappearance_anchors_of_the_other_rows_of_table_3f() -> None:
    tracks = Queries(torch.randn(2, 8), torch.randn(2, 8))
    background, initial = torch.randn(3, 8), torch.randn(6, 8)
    start = LearnedStart(8)
    anchors = DisappearanceAnchors(start=start, position=track_query)(tracks, background, initial)
    assert torch.equal(anchors.feature, start.query.weight.expand(5, 8))
    assert anchors.initial is None
    assert torch.equal(anchors.rivals, torch.cat([tracks.feature, background]))
