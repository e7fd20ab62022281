"""The matchers against the released ones, on small stored inputs (`units.npz`)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dvis_daq.structures import Assignment, ClipTargets, FrameOutputs, Predictions
from dvis_daq.training.losses import LossWeights
from dvis_daq.training.matching import match_clip, match_frames, match_new
from tests.parity.golden.cases import Arrays, Case, load_cases
from tests.parity.golden.training import LatticePoints

WEIGHTS = LossWeights(class_=2.0, mask=5.0, dice=5.0)
NUM_NEW = 6


@pytest.fixture(scope="module")
def recorded_case(reference_dir: Path) -> Case:
    return next(case for case in load_cases(reference_dir) if case.name == "units")


@pytest.fixture(scope="module")
def units(recorded_case: Case) -> Arrays:
    return recorded_case.arrays


@pytest.fixture(scope="module")
def points(recorded_case: Case) -> LatticePoints:
    return LatticePoints(num_points=256, grid_points=recorded_case.recipe.grid_points)


def tensor(array: np.ndarray, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.from_numpy(array).to(dtype)


@pytest.fixture(scope="module")
def targets(units) -> ClipTargets:
    masks = tensor(units["matcher/target_masks"], torch.bool)[:, None]
    labels = tensor(units["matcher/target_labels"], torch.int64)
    return ClipTargets(labels, masks, torch.arange(len(labels)))


@pytest.fixture(scope="module")
def predictions(units) -> Predictions:
    logits, masks = tensor(units["matcher/logits"]), tensor(units["matcher/masks"])
    return Predictions(logits[None], masks[None, :, None])


def as_frame(predictions: Predictions) -> FrameOutputs:
    queries = predictions.logits.shape[1]
    blank = torch.zeros(queries, 4, dtype=torch.float64)
    masks = predictions.masks[:, :, 0]
    return FrameOutputs(blank[None], predictions.logits, masks, masks[:, :4], blank)


def test_targets_are_visible_as_stored(units, targets):
    assert targets.visible[:, 0].tolist() == units["matcher/target_valid"].tolist()


def test_frame_matcher(units, predictions, targets, points):
    [match] = match_frames(
        as_frame(predictions), targets, weights=WEIGHTS, points=points, candidate_score=0.2
    )
    assert match.assignment.query.tolist() == units["frame_matcher/query"].tolist()
    assert match.assignment.target.tolist() == units["frame_matcher/target"].tolist()
    assert (match.resembles >= 0).tolist() == units["frame_matcher/valid"].tolist()
    assert match.resembles.tolist() == units["frame_matcher/aux_target"].tolist()


@pytest.mark.parametrize("case", ["new_matcher", "new_matcher_none"])
def test_new_matcher(units, predictions, targets, points, case):
    kept = Assignment(torch.tensor([2, 0, 1, 2]), torch.tensor([1, 4, 0, 2]))
    if case == "new_matcher":
        query, target = units["new_matcher/prev_query"], units["new_matcher/prev_target"]
        kept = Assignment(tensor(query, torch.int64), tensor(target, torch.int64))
    pairs = match_new(
        predictions,
        targets,
        kept,
        visible=targets.visible[:, 0],
        num_new=NUM_NEW,
        weights=WEIGHTS,
        points=points,
    )
    assert pairs.query.tolist() == units[f"{case}/query"].tolist()
    assert pairs.target.tolist() == units[f"{case}/target"].tolist()


def test_clip_matcher_sees_one_tall_image(units, predictions, targets, points):
    masks = predictions.masks.unflatten(3, (2, 6)).squeeze(2)  # (1, 9, 2, 6, 16)
    tall = targets.masks.unflatten(2, (2, 12)).squeeze(1)
    [match] = match_clip(
        Predictions(predictions.logits, masks),
        ClipTargets(targets.labels, tall, targets.ids),
        weights=WEIGHTS,
        points=points,
    )
    assert match.query.tolist() == units["video_matcher/query"].tolist()
    assert match.target.tolist() == units["video_matcher/target"].tolist()
