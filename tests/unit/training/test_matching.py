import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from dvis_daq.layers.points import sample_points
from dvis_daq.structures import Assignment, ClipTargets, FrameOutputs
from dvis_daq.training.losses import LossWeights
from dvis_daq.training.matching import (
    match_clip,
    match_clips,
    match_frames,
    match_new,
    pair_costs,
)
from tests.unit.training.toys import FixedPoints, toy_frames, toy_predictions, toy_targets

HOW = {"weights": LossWeights(), "points": FixedPoints()}
NONE = Assignment(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))


def literal_cost(logits, samples, label, truth) -> tuple[float, float, float]:
    """Class, mask and dice cost of one row and one object, point by point."""
    exponentials = [math.exp(value) for value in logits.tolist()]
    cross = overlap = size_s = size_t = 0.0
    for x, t in zip(samples.tolist(), truth.tolist(), strict=True):
        s = 1 / (1 + math.exp(-x))
        cross -= t * math.log(s) + (1 - t) * math.log(1 - s)
        overlap, size_s, size_t = overlap + s * t, size_s + s, size_t + t
    dice = 1 - (2 * overlap + 1) / (size_s + size_t + 1)
    return -exponentials[label] / sum(exponentials), cross / len(samples), dice


def test_costs_equal_the_literal_loop():
    said, targets = toy_predictions(1, 5), toy_targets([[1], [1], [0]])
    where = FixedPoints().uniform(1, like=said.masks)
    samples = sample_points(said.masks[0, :, 0], where).detach()
    truth = sample_points(targets.masks[:, 0], where)
    costs = pair_costs(said.logits[0].detach(), samples, targets.labels, truth)
    for n in range(5):
        for g in range(3):
            expected = literal_cost(said.logits[0, n], samples[n], targets.labels[g], truth[g])
            assert [cost[n, g].item() for cost in costs] == pytest.approx(expected, abs=1e-12)


def test_weights_apply_to_the_costs():
    frames, targets = toy_frames(1), toy_targets([[1]] * 3)
    chosen = set()
    for weights in (LossWeights(1, 0, 0), LossWeights(0, 1, 0), LossWeights(0, 0, 1)):
        [match] = match_frames(frames, targets, weights=weights, points=FixedPoints())
        chosen.add(tuple(match.assignment.query.tolist()))
    by_class = frames.logits[0].softmax(-1)[:, targets.labels]
    query, target = linear_sum_assignment(-by_class)
    assert tuple(query[target.argsort()]) in chosen and len(chosen) > 1


def test_frames_are_matched_one_by_one():
    frames, targets = toy_frames(3), toy_targets([[1, 1, 1], [1, 0, 1], [0, 0, 1]])
    together = match_frames(frames, targets, **HOW)
    for t, match in enumerate(together):
        [alone] = match_frames(frames[t], targets[:, t], **HOW)
        assert match.assignment.query.tolist() == alone.assignment.query.tolist()
        assert torch.equal(match.resembles, alone.resembles)
    assert [match.assignment.target.tolist() for match in together] == [[0, 1], [0], [0, 1, 2]]


def test_candidates_resemble_their_partner_the_cheapest_object_or_nothing():
    frames, targets = toy_frames(1), toy_targets([[1], [1], [0]])
    [match] = match_frames(frames, targets, **HOW, candidate_score=0.5)
    assert match.resembles[match.assignment.query].tolist() == match.assignment.target.tolist()
    scores = frames.logits[0].softmax(-1)[:, :-1].amax(-1)
    low = scores <= 0.5
    low[match.assignment.query] = False
    assert low.any() and (match.resembles[low] == -1).all()
    assert set(match.resembles.tolist()) <= {-1, 0, 1}
    assert (match.resembles[scores > 0.5] >= 0).all()


@pytest.mark.parametrize("visible", [[], [[0], [0]]])
def test_nothing_to_match(visible):
    frames = toy_frames(1)
    targets = toy_targets(visible)[:, :1] if visible else toy_targets([])[:, :1]
    [match] = match_frames(frames, targets, **HOW)
    assert len(match.assignment.query) == len(match.assignment.target) == 0
    assert (match.resembles == -1).all()


def test_more_objects_than_candidates():
    [match] = match_frames(toy_frames(1, queries=2), toy_targets([[1]] * 4), **HOW)
    assert sorted(match.assignment.query.tolist()) == [0, 1]
    assert len(set(match.assignment.target.tolist())) == 2


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(5)))
def test_the_order_of_objects_does_not_matter(order):
    frames, targets = toy_frames(1), toy_targets([[1], [1], [0], [1], [1]])
    [match] = match_frames(frames, targets, **HOW)
    [shuffled] = match_frames(frames, targets[torch.tensor(order), :], **HOW)
    original = [order[g] for g in shuffled.assignment.target.tolist()]
    pairs = set(zip(shuffled.assignment.query.tolist(), original, strict=True))
    assert pairs == set(zip(*(part.tolist() for part in match.assignment), strict=True))


def test_history_is_kept_and_only_newcomers_are_matched_to_new_rows():
    said = toy_predictions(2, 9)
    targets = toy_targets([[1], [0], [1], [1]])
    kept = Assignment(torch.tensor([2, 0]), torch.tensor([3, 1]))
    pairs = match_new(said, targets, kept, visible=targets.visible[:, 0], num_new=6, **HOW)
    assert pairs.target.tolist() == [3, 1, 0, 2]
    assert pairs.query[:2].tolist() == [2, 0] and (pairs.query[2:] >= 3).all()
    part = match_clip(said.final.rows(slice(3, None)), targets[torch.tensor([0, 2]), :], **HOW)
    by_target = part[0].query[part[0].target.argsort()] + 3
    assert pairs.query[2:].tolist() == by_target.tolist()


@pytest.mark.parametrize(
    ("kept", "num_new"), [(Assignment(torch.tensor([0]), torch.tensor([0])), 4), (NONE, 0)]
)
def test_no_newcomer_or_no_row_for_one(kept, num_new):
    targets = toy_targets([[1], [0]])
    pairs = match_new(
        toy_predictions(1, 5), targets, kept, visible=targets.visible[:, 0], num_new=num_new, **HOW
    )
    assert pairs == kept


def test_more_newcomers_than_rows():
    targets = toy_targets([[1]] * 4)
    pairs = match_new(
        toy_predictions(1, 5), targets, NONE, visible=targets.visible[:, 0], num_new=2, **HOW
    )
    assert sorted(pairs.query.tolist()) == [3, 4]


def test_a_clip_is_one_tall_image_and_layers_are_matched_alone():
    said, targets = toy_predictions(3, 6, frames=2), toy_targets([[1, 1], [0, 1]])
    matches = match_clip(said, targets, **HOW)
    where = FixedPoints().uniform(1, like=said.masks, frames=2)
    truth = sample_points(targets.masks.flatten(1, 2), where)
    for layer, match in enumerate(matches):
        samples = sample_points(said.masks[layer].flatten(1, 2), where)
        costs = pair_costs(said.logits[layer], samples, targets.labels, truth)
        query, target = linear_sum_assignment(costs.total(LossWeights()).detach())
        assert match.query.tolist() == query.tolist() and match.target.tolist() == target.tolist()


def test_clips_together_are_clips_alone():
    one = (toy_predictions(2, 6, frames=2), toy_targets([[1, 1], [0, 1]]))
    two = (toy_predictions(2, 4, frames=1, seed=7), toy_targets([])[:, :1])
    together = match_clips([one, two], **HOW)
    for pair, matches in zip((one, two), together, strict=True):
        for ours, alone in zip(matches, match_clip(*pair, **HOW), strict=True):
            assert ours.query.tolist() == alone.query.tolist()


def spoilt(frames: FrameOutputs, **values) -> FrameOutputs:
    return FrameOutputs(**(vars(frames) | values))


@pytest.mark.parametrize(("part", "name"), [("logits", "class cost"), ("masks", "mask and dice")])
def test_a_cost_that_is_not_finite_is_named(part, name):
    frames, targets = toy_frames(3), toy_targets([[1, 1, 1]])
    bad = getattr(frames, part).clone()
    bad[1, 4] = float("nan")
    with pytest.raises(FloatingPointError, match=f"frame 1: the {name}"):
        match_frames(spoilt(frames, **{part: bad}), targets, **HOW)


def test_a_cost_of_new_rows_that_is_not_finite_is_named():
    said, targets = toy_predictions(1, 5), toy_targets([[1]])
    with torch.no_grad():
        said.masks[0, 4] = float("inf")
    options = {"visible": targets.visible[:, 0], "num_new": 2, "where": "frame 3"}
    with pytest.raises(FloatingPointError, match="new rows of frame 3"):
        match_new(said, targets, NONE, **options, **HOW)
    options["num_new"] = 0
    assert match_new(said, targets, NONE, **options, **HOW) == NONE


def test_half_precision_is_cast_up():
    frames, targets = toy_frames(2), toy_targets([[1, 1], [1, 1]])
    single = [t.float() if t is not None else None for t in vars(frames).values()]
    half = [None if t is None else t.half() for t in single]
    exact = match_frames(
        FrameOutputs(*[None if t is None else t.float() for t in half]), targets, **HOW
    )
    for ours, theirs in zip(match_frames(FrameOutputs(*half), targets, **HOW), exact, strict=True):
        assert ours.assignment.query.tolist() == theirs.assignment.query.tolist()


def test_clip_and_targets_of_different_length():
    targets = toy_targets([[1, 1]])
    with pytest.raises(ValueError, match="3 frames, but targets"):
        match_frames(toy_frames(3), targets, **HOW)
    with pytest.raises(ValueError, match="differ in frames"):
        match_clip(toy_predictions(1, 4, frames=3), targets, **HOW)


def test_no_gradient_is_recorded():
    said, targets = toy_predictions(1, 5), toy_targets([[1], [1]])
    assert isinstance(targets, ClipTargets)
    match_clip(said, targets, **HOW)
    assert said.masks.grad_fn is None and said.masks.grad is None
