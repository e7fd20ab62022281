"""The matchers on small stored inputs: `units.npz`."""

from __future__ import annotations

import torch

from dvis_daq.structures import Assignment, ClipTargets, FrameOutputs, Predictions
from dvis_daq.training.losses import LossWeights
from dvis_daq.training.matching import match_clip, match_frames, match_new
from tests.parity.golden.cases import Arrays, Case
from tests.parity.golden.training import LatticePoints

WEIGHTS = LossWeights(class_=2.0, mask=5.0, dice=5.0)
NUM_NEW = 6
# As in the recorded run, which stores only the pairs of the other one
KEPT_WITHOUT_NEW = Assignment(torch.tensor([2, 0, 1, 2]), torch.tensor([1, 4, 0, 2]))


def matchers(case: Case, dtype: torch.dtype) -> Arrays:
    predictions, targets, points = _inputs(case, dtype)
    return {
        **case.inputs("matcher/logits", "matcher/masks"),
        **case.inputs("matcher/target_masks", "matcher/target_labels"),
        "matcher/target_valid": targets.visible[:, 0].numpy(),
        **_frame_matcher(predictions, targets, points),
        **_new_matchers(case, predictions, targets, points),
        **_video_matcher(predictions, targets, points),
    }


def _inputs(case: Case, dtype: torch.dtype) -> tuple[Predictions, ClipTargets, LatticePoints]:
    labels = case.tensor("matcher/target_labels", torch.int64)
    masks = case.tensor("matcher/target_masks")[:, None]
    predictions = Predictions(
        case.tensor("matcher/logits", dtype)[None],
        case.tensor("matcher/masks", dtype)[None, :, None],
    )
    points = LatticePoints(num_points=256, grid_points=case.recipe.grid_points)
    return predictions, ClipTargets(labels, masks, torch.arange(len(labels))), points


def _frame_matcher(predictions: Predictions, targets: ClipTargets, points: LatticePoints) -> Arrays:
    masks = predictions.masks[:, :, 0]
    blank = masks.new_zeros(masks.shape[1], 4)
    frame = FrameOutputs(blank[None], predictions.logits, masks, masks[:, :4], blank)
    [match] = match_frames(frame, targets, weights=WEIGHTS, points=points, candidate_score=0.2)
    return _pairs("frame_matcher", match.assignment) | {
        "frame_matcher/valid": (match.resembles >= 0).numpy(),
        "frame_matcher/aux_target": match.resembles.numpy(),
    }


def _new_matchers(
    case: Case, predictions: Predictions, targets: ClipTargets, points: LatticePoints
) -> Arrays:
    names = ("new_matcher/prev_query", "new_matcher/prev_target")
    recorded = Assignment(*(case.tensor(name, torch.int64) for name in names))
    arrays = case.inputs(*names)
    for part, kept in {"new_matcher": recorded, "new_matcher_none": KEPT_WITHOUT_NEW}.items():
        pairs = match_new(
            predictions,
            targets,
            kept,
            visible=targets.visible[:, 0],
            num_new=NUM_NEW,
            weights=WEIGHTS,
            points=points,
        )
        arrays |= _pairs(part, pairs)
    return arrays


def _video_matcher(predictions: Predictions, targets: ClipTargets, points: LatticePoints) -> Arrays:
    """The same arrays as a clip of two frames, which a matcher sees as one tall image."""
    masks = predictions.masks.unflatten(3, (2, -1)).squeeze(2)  # (1, 9, 2, 6, 16)
    tall = targets.masks.unflatten(2, (2, -1)).squeeze(1)
    [match] = match_clip(
        Predictions(predictions.logits, masks),
        ClipTargets(targets.labels, tall, targets.ids),
        weights=WEIGHTS,
        points=points,
    )
    return _pairs("video_matcher", match)


def _pairs(part: str, pairs: Assignment) -> Arrays:
    return {f"{part}/query": pairs.query.numpy(), f"{part}/target": pairs.target.numpy()}
