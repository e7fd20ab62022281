"""DVIS++ online: which rows answer for which objects, the items, and gradients everywhere."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from dvis_daq.structures import Assignment, FrameOutputs, Predictions
from dvis_daq.tracker.referring import ReferringTracker
from dvis_daq.training.losses import LossWeights
from dvis_daq.training.matching import match_clip, match_first_appearance
from dvis_daq.training.noise import QueryNoise, shuffle
from dvis_daq.training.objectives import Clip, ReferringObjective
from dvis_daq.training.objectives.referring import aligned, reference_items
from tests.unit.training.toys import (
    CLASSES,
    MASK_WIDTH,
    WIDTH,
    FixedPoints,
    toy_frames,
    toy_predictions,
    toy_targets,
)

EVENTS = [[1, 1, 1], [1, 0, 1], [0, 0, 1], [1, 1, 0], [0, 1, 1]]
HOW = {"weights": LossWeights(), "points": FixedPoints()}


def frames() -> FrameOutputs:
    outputs = toy_frames(3)
    return replace(outputs, raw_embeds=2 * outputs.embeds)


def model() -> SimpleNamespace:
    torch.manual_seed(0)
    tracker = ReferringTracker(
        hidden_dim=WIDTH,
        mask_dim=MASK_WIDTH,
        num_classes=CLASSES,
        layers=3,
        heads=2,
        feedforward_dim=32,
    )
    return SimpleNamespace(segmenter=None, tracker=tracker.double().train())


def objective(**options) -> ReferringObjective:
    return ReferringObjective(**{"match_tracks_from": 10, "points": FixedPoints()} | options)


@pytest.mark.parametrize("iteration", [0, 10])
@pytest.mark.parametrize("visible", [EVENTS, [], [[0, 0, 0]], [[0, 1, 0]]])
def test_every_trained_parameter_has_a_gradient(iteration, visible) -> None:
    parts = model()
    losses = objective()(parts, [Clip(frames(), toy_targets(visible))], iteration)
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert [n for n, p in parts.tracker.named_parameters() if p.grad is None] == []


def test_names_of_the_losses() -> None:
    clip = Clip(frames(), toy_targets(EVENTS))
    names = [f"loss_{part}{end}" for part in ("ce", "mask", "dice") for end in ("_0", "_1", "")]
    assert sorted(objective()(model(), [clip], 0)) == sorted([*names, "loss_reid"])
    assert sorted(objective(contrast_weight=0.0)(model(), [clip], 0)) == sorted(names)


def test_segmenter_decides_first_and_tracker_later() -> None:
    """Before `match_tracks_from`, what the tracker says does not change who answers for whom."""
    parts, targets = model(), toy_targets(EVENTS)
    early = objective()
    steps = early.track(parts.tracker, frames())
    order = [aligned(frames()[t], step.candidates) for t, step in enumerate(steps)]
    assert _equal(
        early.match(steps, frames(), targets, 9), match_first_appearance(order, targets, **HOW) * 3
    )
    said = [step.tracked for step in steps]
    later = early.match(steps, frames(), targets, 10)
    assert _equal(later, match_first_appearance(said, targets, **HOW))
    assert len({tuple(pairs.query.tolist()) for pairs in later}) > 1  # layer by layer


def test_noise_comes_after_the_first_frame() -> None:
    disturbed = objective(noise=QueryNoise(shuffle, 1.0))
    steps = disturbed.track(model().tracker, frames())
    first, *others = (step.candidates for step in steps)
    assert first.tolist() == list(range(10))
    assert all(order.tolist() != list(range(10)) for order in others)


def test_objects_take_free_rows_in_order_of_appearance() -> None:
    """A literal loop over the frames, with taken rows out of reach."""
    predictions = [toy_predictions(2, 7, seed=t) for t in range(3)]
    targets = toy_targets(EVENTS)
    found = match_first_appearance(predictions, targets, **HOW)
    for layer in range(2):
        taken: dict[int, int] = {}
        for t, appearing in enumerate([[0, 1, 3], [4], [2]]):
            free = [row for row in range(7) if row not in taken]
            said = Predictions(
                predictions[t].logits[layer : layer + 1, free],
                predictions[t].masks[layer : layer + 1, free],
            )
            [pairs] = match_clip(said, targets[torch.tensor(appearing), t], **HOW)
            for query, target in zip(pairs.query.tolist(), pairs.target.tolist(), strict=True):
                taken[free[query]] = appearing[target]
        assert found[layer].query.tolist() == list(taken)
        assert found[layer].target.tolist() == list(taken.values())


def test_an_object_that_is_never_visible_has_no_row() -> None:
    predictions = [toy_predictions(1, 7, seed=t) for t in range(3)]
    [found] = match_first_appearance(predictions, toy_targets([[0, 0, 0], [0, 1, 1]]), **HOW)
    assert found.target.tolist() == [1]
    with pytest.raises(ValueError, match="2 frames"):
        match_first_appearance(predictions[:2], toy_targets(EVENTS), **HOW)


def test_reference_items_look_at_both_neighbours() -> None:
    references = torch.arange(24.0).view(4, 3, 2)
    pairs = Assignment(torch.tensor([2, 0]), torch.tensor([0, 1]))
    items = reference_items(references, pairs)
    assert len(items) == 2 * (2 + 2 + 1)  # the last frame has one neighbour
    assert torch.equal(items[0].anchor, references[1, 2])
    assert torch.equal(items[0].positives, references[0, [2]])
    assert torch.equal(items[1].negatives, references[2, [0, 1]])
    assert torch.equal(items[-1].positives, references[2, [0]])


def _equal(ours: list[Assignment], theirs: list[Assignment]) -> bool:
    pairs = zip(ours, theirs, strict=True)
    return all(torch.equal(a.query, b.query) and torch.equal(a.target, b.target) for a, b in pairs)
