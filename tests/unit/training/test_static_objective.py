"""Static anchors: rows never end, and an object that lost its row takes a free one."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from dvis_daq.tracker.loop import track
from dvis_daq.tracker.state import EndlessLife
from dvis_daq.tracker.static import StaticTracker
from dvis_daq.training.objectives import Clip, StaticObjective
from dvis_daq.training.simulation import Stage
from tests.unit.training.toys import (
    CLASSES,
    MASK_WIDTH,
    WIDTH,
    FixedPoints,
    toy_frames,
    toy_targets,
)

EVENTS = [[1, 1, 1], [1, 0, 1], [0, 0, 1], [1, 1, 0], [1, 1, 1]]


def tiny_tracker() -> StaticTracker:
    torch.manual_seed(0)
    tracker = StaticTracker(
        hidden_dim=WIDTH,
        mask_dim=MASK_WIDTH,
        num_classes=CLASSES,
        layers=2,
        heads=2,
        feedforward_dim=32,
    )
    return tracker.double().train()


def rows_by_frame(visible: list[list[int]], stage: Stage) -> list[dict[int, int]]:
    """For each frame the row of each object with a class, by its label."""
    targets = toy_targets(visible)
    targets = replace(targets, labels=torch.arange(len(targets)))
    tracker = tiny_tracker()
    tracker.head.class_embed = torch.nn.Linear(WIDTH, 9).double()  # a class for each object
    frames = replace(toy_frames(3), logits=torch.randn(3, 10, 9, dtype=torch.float64))
    said = StaticObjective(points=FixedPoints()).track(tracker, frames, targets, stage)
    found = []
    for supervision in said:
        taken = (supervision.labels < 8).nonzero().squeeze(1).tolist()
        found.append({int(supervision.labels[row]): row for row in taken})
    return found


def test_rows_live_forever_and_read_no_positions() -> None:
    frames = toy_frames(3)
    with torch.no_grad():
        done = list(track(tiny_tracker().eval(), EndlessLife(), frames))
    assert [frame.state.ids.tolist() for frame in done] == [list(range(10))] * 3
    assert done[-1].step.tracked.logits.shape == (1, 10, CLASSES + 1)


def test_an_object_keeps_its_row_and_is_background_when_absent() -> None:
    first, second, third = rows_by_frame(EVENTS, Stage())
    assert (set(first), set(second), set(third)) == ({0, 1, 3, 4}, {0, 3, 4}, {0, 1, 2, 4})
    assert all(third[g] == first[g] for g in (0, 1, 4))
    assert third[2] not in first.values()


def test_dropped_objects_take_rows_that_never_had_one() -> None:
    first, second, third = rows_by_frame([[1, 1, 1]] * 4, Stage(drop="half"))
    assert sum(first[g] == second[g] for g in range(4)) == 2
    moved = [g for g in range(4) if first[g] != second[g]]
    assert all(second[g] not in first.values() for g in moved)
    earlier = set(first.values()) | set(second.values())
    assert all(third[g] == second[g] or third[g] not in earlier for g in range(4))


def test_objects_whose_row_scores_low_need_a_free_row() -> None:
    first, second, _ = rows_by_frame([[1, 1, 1]] * 4, Stage(score=1.0))
    assert set(first) == set(second) == {0, 1, 2, 3}
    assert not set(first.values()) & set(second.values())
    first, second, _ = rows_by_frame([[1, 1, 1]] * 4, Stage(score=0.0))
    assert first == second


@pytest.mark.parametrize("visible", [EVENTS, [], [[0, 0, 0]], [[1, 1, 1]] * 12])
def test_every_trained_parameter_has_a_gradient(visible) -> None:
    """Also with no object, and with more objects than rows."""
    model = SimpleNamespace(segmenter=None, tracker=tiny_tracker())
    objective = StaticObjective(points=FixedPoints(), stages=(Stage(drop="half"),))
    losses = objective(model, [Clip(toy_frames(3), toy_targets(visible))], 0)
    sum(losses.values()).backward()
    names = [f"loss_{part}{end}" for part in ("ce", "mask", "dice") for end in ("_0", "_1", "")]
    assert sorted(losses) == sorted(names)
    assert [n for n, p in model.tracker.named_parameters() if p.grad is None] == []
