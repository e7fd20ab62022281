"""GenVIS in training: unified labels, the similarity loss, and gradients for everything."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch.nn import functional as F

from dvis_daq.structures import ClipTargets, FrameOutputs
from dvis_daq.training import similarity
from dvis_daq.training.clip_labels import NO_ROW, assign_rows, clip_costs, no_rows
from dvis_daq.training.losses import LossWeights
from dvis_daq.training.objectives import (
    Clip,
    GenVISDAQObjective,
    GenVISObjective,
)
from dvis_daq.training.objectives.base import NO_PAIRS
from dvis_daq.training.similarity import SimilarityItem, similarity_loss
from dvis_daq.training.simulation import Stage
from tests.unit.tracker.tiny_clip import clip_video, genvis, genvis_daq
from tests.unit.training.toys import FixedPoints, toy_predictions, toy_targets

EVENTS = [[1, 1, 1, 1], [1, 0, 1, 1], [0, 0, 1, 0], [1, 1, 0, 0]]
SMALL = (16, 24)  # pixels of `clip_video`
WEIGHTS, POINTS = LossWeights(), FixedPoints()


def clip(visible: list[list[int]], layers: int = 1) -> Clip:
    video = clip_video(4)
    if layers > 1:
        other = clip_video(4, seed=1)
        deep = {
            f"deep_{name}": torch.stack([getattr(v, name) for v in (other, video)])
            for name in ("embeds", "logits", "masks")
        }
        video = replace(video, **deep)
    targets = toy_targets(visible, pixels=SMALL) if visible else no_objects()
    return Clip(video, targets)


def no_objects() -> ClipTargets:
    none = torch.zeros(0, dtype=torch.int64)
    return ClipTargets(none, torch.zeros(0, 4, *SMALL, dtype=torch.bool), none)


def objective(kind: str, clip_frames: int = 1):
    if kind == "GenVIS":
        return GenVISObjective(clip_frames=clip_frames, points=POINTS)
    stages = (Stage(score=0.0, hide="random", hide_above=1),)
    return GenVISDAQObjective(points=POINTS, stages=stages)


def learner(kind: str):
    tracker = genvis() if kind == "GenVIS" else genvis_daq()
    return SimpleNamespace(segmenter=None, tracker=tracker.train())


@pytest.mark.parametrize("kind", ["GenVIS", "GenVIS_DAQ"])
@pytest.mark.parametrize(
    "visible", [EVENTS, [], [[0, 0, 0, 0]], [[0, 1, 0, 0]], [[1, 1, 1, 1]] * 9]
)
def test_every_trained_parameter_has_a_gradient(kind: str, visible: list[list[int]]) -> None:
    """Also without objects, and with more of them than rows."""
    model = learner(kind)
    losses = objective(kind)(model, [clip(visible, layers=2)], 0)
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    assert [n for n, p in model.tracker.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("kind", ["GenVIS", "GenVIS_DAQ"])
def test_each_clip_has_all_losses(kind: str) -> None:
    losses = objective(kind)(learner(kind), [clip(EVENTS)], 0)
    ends = [f"{layer}_clip{t}" for layer in ("_0", "") for t in range(4)]
    names = {f"loss_{part}{end}" for part in ("ce", "mask", "dice") for end in ends}
    names |= {f"loss_sim_clip{t}" for t in range(4)}
    if kind == "GenVIS_DAQ":  # tracker 2 is silent on a first frame
        later = [end for end in ends if not end.endswith("clip0")]
        names |= {f"slot_loss_{part}{end}" for part in ("ce", "mask", "dice") for end in later}
    assert set(losses) == names


@pytest.mark.parametrize(("kind", "frames"), [("GenVIS", 1), ("GenVIS", 2), ("GenVIS_DAQ", 1)])
def test_the_order_of_objects_does_not_matter(kind: str, frames: int) -> None:
    ours = clip(EVENTS)
    shuffled = Clip(ours.images, ours.targets[torch.tensor([2, 0, 3, 1]), :])
    quiet = objective(kind, frames)
    if kind == "GenVIS_DAQ":
        quiet = replace(quiet, stages=(Stage(drop="half"),))
    torch.testing.assert_close(*(quiet(learner(kind), [c], 0) for c in (ours, shuffled)))


def test_a_video_of_one_clip_teaches_nothing() -> None:
    with pytest.raises(ValueError, match="more than one clip of 4 frames"):
        objective("GenVIS", 4)(learner("GenVIS"), [clip(EVENTS)], 0)


def held_rows(visible: list[list[int]]) -> list[torch.Tensor]:
    targets = toy_targets(visible, pixels=SMALL)
    nobody = [NO_PAIRS] * 4
    taught = objective("GenVIS").track(genvis().train(), clip_video(4), targets, nobody)
    return [said.held for said in taught]


def test_an_object_has_no_row_before_it_is_seen_and_keeps_it_afterwards() -> None:
    held = held_rows(EVENTS)
    assert (held[1][:, 2] == NO_ROW).all() and (held[2][:, 2] != NO_ROW).all()
    for before, after in zip(held, held[1:], strict=False):
        known = before != NO_ROW
        assert torch.equal(before[known], after[known])


def test_absent_and_tracked_objects_are_background() -> None:
    targets = toy_targets([[1, 0, 1, 1]], pixels=SMALL)
    taught = objective("GenVIS").track(genvis().train(), clip_video(4), targets, [NO_PAIRS] * 4)
    counts = [[(s.labels != 5).sum().item() for s in said.layers] for said in taught]
    assert counts == [[1, 1], [0, 0], [1, 1], [1, 1]]


def released_rule(held, cost, valid, new):
    """The specification word for word: 1e6 where nothing may be given."""
    blocked = np.full(len(cost), False)
    for g in (valid & ~new).nonzero().squeeze(1).tolist():
        blocked[held[g]] = True
    cost = cost.copy()
    cost[:, ~new.numpy()] = 1e6
    cost[blocked] = 1e6
    rows, columns = linear_sum_assignment(cost)
    found = held.clone()
    for row, g in zip(rows, columns, strict=True):
        if new[g]:
            found[g] = int(row)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_given_as_the_release_gives_them(seed: int) -> None:
    make = torch.Generator().manual_seed(seed)
    predictions = toy_predictions(2, 9, frames=2, seed=seed)
    targets = toy_targets([[1, 1]] * 5)
    valid = torch.rand(5, generator=make) < 0.7
    new = valid & (torch.rand(5, generator=make) < 0.5)
    held = torch.where(new, NO_ROW, torch.stack([torch.randperm(9, generator=make)[:5]] * 2))
    found = assign_rows(
        held, predictions, targets, valid=valid, new=new, weights=WEIGHTS, points=POINTS
    )
    total = clip_costs(predictions, targets, POINTS).total(WEIGHTS).detach().numpy()
    expected = [
        released_rule(rows, cost, valid, new) for rows, cost in zip(held, total, strict=True)
    ]
    assert found.tolist() == torch.stack(expected).tolist()


def test_more_new_objects_than_free_rows() -> None:
    predictions, targets = toy_predictions(1, 3, frames=2), toy_targets([[1, 1]] * 5)
    everything = torch.ones(5, dtype=torch.bool)
    found = assign_rows(
        no_rows(1, 5),
        predictions,
        targets,
        valid=everything,
        new=everything,
        weights=WEIGHTS,
        points=POINTS,
    )
    assert sorted(found[0].tolist()) == [NO_ROW, NO_ROW, 0, 1, 2]


def test_a_cost_that_is_not_finite_is_named() -> None:
    predictions, targets = toy_predictions(1, 3, frames=2), toy_targets([[1, 1]])
    predictions.logits.data[0, 0] = torch.nan
    one = torch.ones(1, dtype=torch.bool)
    with pytest.raises(FloatingPointError, match="this clip, layer 0: the class cost"):
        assign_rows(
            no_rows(1, 1), predictions, targets, valid=one, new=one, weights=WEIGHTS, points=POINTS
        )


def test_similarity_loss_equals_its_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    items = [SimilarityItem(torch.randn(n, 6), torch.randint(3, (n,))) for n in (4, 2, 0)]
    terms = [
        F.binary_cross_entropy_with_logits(a @ b, (i == j).float())
        for x, ids in items
        for a, i in zip(x, ids, strict=True)
        for b, j in zip(x, ids, strict=True)
    ]
    torch.testing.assert_close(similarity_loss(items), torch.stack(terms).mean())
    # Of two processes, the other with 12 pairs: gradients are averaged, so the sum counts twice.
    monkeypatch.setattr(similarity, "sum_over_ranks", lambda total: (total + 12, 2))
    torch.testing.assert_close(similarity_loss(items), torch.stack(terms).sum() * 2 / (20 + 12))


def test_without_pairs_the_similarity_loss_keeps_its_graph() -> None:
    embeddings = torch.randn(0, 6, requires_grad=True)
    loss = similarity_loss([SimilarityItem(embeddings, torch.zeros(0, dtype=torch.int64))])
    assert loss.item() == 0 and loss.requires_grad


def test_frames_without_other_layers_are_one_layer() -> None:
    [alone] = clip_video(2).layers()
    assert isinstance(alone, FrameOutputs) and len(alone) == 2
