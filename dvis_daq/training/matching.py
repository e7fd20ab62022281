"""Which prediction answers for which object (the paper's "Objective Function", Sec. 3.4).

The pairs of tracked objects are kept from frame to frame; only objects that are not tracked
yet are matched, and only to newly anchored rows. No gradient is taken, and all pairs are
tensors on the CPU: the host decides, with one transfer of costs a call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from dvis_daq.layers.points import sample_points
from dvis_daq.layers.precision import at_least_float32, no_autocast
from dvis_daq.structures import (
    Assignment,
    ClipTargets,
    FrameOutputs,
    Predictions,
    foreground_score,
)
from dvis_daq.training.losses import LossWeights, tall
from dvis_daq.training.points import PointSampler


class PairCosts(NamedTuple):
    """Costs of N rows against G objects, (..., N, G) each, before weights."""

    class_: Tensor  # minus the probability of the object's class
    mask: Tensor  # binary cross entropy, mean over the points
    dice: Tensor  # as `losses.dice_loss`

    def total(self, weights: LossWeights) -> Tensor:
        """(..., N, G) weighted sum."""
        return weights.class_ * self.class_ + weights.mask * self.mask + weights.dice * self.dice


class FrameMatch(NamedTuple):
    """How the segmenter's Q candidates of a frame relate to the objects that are visible.

    Attributes:
        assignment: one candidate for each visible object, in ascending order of the object.
        resembles: (Q,) int64, the object that each candidate is closest to, or its partner in
            `assignment`; -1 for a candidate that has no partner and a low score.
    """

    assignment: Assignment
    resembles: Tensor


@torch.no_grad()
def match_frames(
    frames: FrameOutputs,
    targets: ClipTargets,
    *,
    weights: LossWeights,
    points: PointSampler,
    candidate_score: float = 0.01,
) -> list[FrameMatch]:
    """Matches the segmenter's candidates of each frame with the objects visible in it.

    Args:
        frames: T frames of Q candidates.
        targets: G objects over the T frames, masks padded like the frames.
        weights: of the three costs.
        points: source of the points, one set a frame, shared by its masks.
        candidate_score: 0..1, a candidate without partner counts above it.

    Raises:
        FloatingPointError: a cost is not finite; names the cost and the frame.
        ValueError: frames and targets differ in length.
    """
    if len(frames) != targets.num_frames:
        raise ValueError(f"{len(frames)} frames, but targets {tuple(targets.masks.shape)}")
    where = points.uniform(len(frames), like=at_least_float32(frames.masks))
    samples = _sample_frames(frames.masks, where)
    truth = _sample_frames(targets.masks.transpose(0, 1), where)
    costs = pair_costs(frames.logits, samples, targets.labels, truth)
    scores = foreground_score(at_least_float32(frames.logits))
    total, scores, visible = to_host([costs.total(weights), scores, targets.visible.T])
    check_finite(total, costs, [f"frame {t}" for t in range(len(frames))])
    return [
        _match_frame(cost, row > candidate_score, seen > 0)
        for cost, row, seen in zip(total, scores, visible, strict=True)
    ]


@torch.no_grad()
def match_new(
    predictions: Predictions,
    targets: ClipTargets,
    kept: Assignment,
    *,
    visible: Tensor,
    num_new: int,
    weights: LossWeights,
    points: PointSampler,
    where: str = "this frame",
) -> Assignment:
    """Keeps the pairs of the tracks and finds rows for the objects that have none.

    Args:
        predictions: N + M rows of one frame; the final layer is used.
        targets: G objects in this frame (T = 1), masks padded like the frame.
        kept: pairs of the N tracks, whether their objects are visible now or not.
        visible: (G,) bool on the CPU, whether an object is visible in this frame.
        num_new: M, the last rows, which alone are matched.
        weights: of the three costs.
        points: source of the points.
        where: names the frame in errors.

    Returns:
        `kept`, then the new pairs in ascending order of the object.

    Raises:
        FloatingPointError: a cost is not finite; names the cost and `where`.
    """
    wanted = visible.clone()
    wanted[kept.target] = False
    wanted = wanted.nonzero().squeeze(1)
    if not len(wanted) or not num_new:
        return kept
    first = len(predictions) - num_new
    rows = predictions.final.rows(slice(first, None))
    objects = targets[wanted.to(targets.labels.device), :]
    costs = _clip_costs(rows, objects, points)
    [total] = to_host([costs.total(weights)])
    check_finite(total, costs, [f"the new rows of {where}"])
    query, target = _by_target(*linear_sum_assignment(total[0]))
    return Assignment(
        torch.cat([kept.query, torch.from_numpy(query) + first]),
        torch.cat([kept.target, wanted[torch.from_numpy(target)]]),
    )


def match_clip(
    predictions: Predictions, targets: ClipTargets, *, weights: LossWeights, points: PointSampler
) -> list[Assignment]:
    """`match_clips` of one clip: a matching for each layer."""
    [matches] = match_clips([(predictions, targets)], weights=weights, points=points)
    return matches


@torch.no_grad()
def match_clips(
    clips: Sequence[tuple[Predictions, ClipTargets]],
    *,
    weights: LossWeights,
    points: PointSampler,
) -> list[list[Assignment]]:
    """Matches rows that live through a whole clip with all of its objects, absent ones too.

    The T frames count as one tall image. The layers of a clip are matched one by one, at the
    same points.

    Args:
        clips: N rows of L layers over T frames, and G objects over the same frames, masks
            padded like the frames. Sizes may differ from clip to clip.
        weights: of the three costs.
        points: source of the points.

    Returns:
        For each clip and layer the pairs, in ascending order of the row.

    Raises:
        FloatingPointError: a cost is not finite; names the cost, the clip and the layer.
        ValueError: predictions and targets differ in their number of frames.
    """
    costs = [_clip_costs(predictions, targets, points) for predictions, targets in clips]
    totals = to_host([cost.total(weights) for cost in costs])
    for index, (total, cost) in enumerate(zip(totals, costs, strict=True)):
        check_finite(total, cost, [f"clip {index}, layer {layer}" for layer in range(len(total))])
    return [[_assignment(*linear_sum_assignment(cost)) for cost in total] for total in totals]


@torch.no_grad()
def match_first_appearance(
    frames: Sequence[Predictions],
    targets: ClipTargets,
    *,
    weights: LossWeights,
    points: PointSampler,
) -> list[Assignment]:
    """Gives each object the row that fits it best in the frame where it first appears (DVIS++).

    Frame by frame, from the rows that no earlier object has; the pairs hold for all frames.

    Args:
        frames: N rows of L layers for each of T frames; row n is the same track in all.
        targets: G objects over the T frames, masks padded like the frames.
        weights: of the three costs.
        points: source of the points, one set a frame.

    Returns:
        For each layer the pairs, in order of appearance, then of the row; an object that is
        never visible has none.

    Raises:
        FloatingPointError: a cost is not finite; names the cost, the frame and the layer.
        ValueError: frames and targets differ in length.
    """
    if len(frames) != targets.num_frames:
        raise ValueError(f"{len(frames)} frames, but targets {tuple(targets.masks.shape)}")
    costs = [_clip_costs(said, targets[:, t], points) for t, said in enumerate(frames)]
    *totals, visible = to_host([*(cost.total(weights) for cost in costs), targets.visible])
    for t, (total, cost) in enumerate(zip(totals, costs, strict=True)):
        check_finite(total, cost, [f"frame {t}, layer {layer}" for layer in range(len(total))])
    first = np.where(visible.any(1), visible.argmax(1), len(frames))  # (G,)
    return [_by_appearance(of_layer, first) for of_layer in zip(*totals, strict=True)]


def pair_costs(logits: Tensor, samples: Tensor, labels: Tensor, truth: Tensor) -> PairCosts:
    """Costs of every row against every object.

    Args:
        logits: (..., N, K + 1) class logits.
        samples: (..., N, P) mask logits at P points.
        labels: (G,) int64 classes of the objects.
        truth: (..., G, P) true masks at the same points, 0..1.

    Returns:
        Three tensors of (..., N, G).
    """
    samples = at_least_float32(samples)
    truth = truth.to(samples.dtype).transpose(-1, -2)  # (..., P, G)
    probability = samples.sigmoid()
    with no_autocast(samples):  # sums over thousands of points leave the range of half
        # BCE: t softplus(-x) + (1 - t) softplus(x) = softplus(x) - t x
        cross = F.softplus(samples).sum(-1)[..., None] - samples @ truth
        overlap = probability @ truth
    size = probability.sum(-1)[..., None] + truth.sum(-2)[..., None, :]
    return PairCosts(
        class_=-at_least_float32(logits).softmax(-1)[..., labels],
        mask=cross / samples.shape[-1],
        dice=1 - (2 * overlap + 1) / (size + 1),
    )


def _clip_costs(predictions: Predictions, targets: ClipTargets, points: PointSampler) -> PairCosts:
    """Costs of L layers, (L, N, G) each."""
    frames = targets.num_frames
    if predictions.num_frames != frames:
        raise ValueError(
            f"predictions {tuple(predictions.source.shape)} and targets "
            f"{tuple(targets.masks.shape)} differ in frames"
        )
    masks = tall(at_least_float32(predictions.masks))  # (L, N, T h, w)
    where = points.uniform(1, like=masks, frames=frames)
    samples = sample_points(masks.flatten(0, 1), where).unflatten(0, masks.shape[:2])
    truth = sample_points(tall(targets.masks), where)
    return pair_costs(predictions.logits, samples, targets.labels, truth)


def _match_frame(cost: np.ndarray, scored: np.ndarray, visible: np.ndarray) -> FrameMatch:
    """One frame: cost (Q, G), scored (Q,) bool, visible (G,) bool."""
    objects = visible.nonzero()[0]
    resembles = np.full(len(cost), -1)
    if len(objects):
        closest = objects[cost[:, objects].argmin(1)]
        resembles[scored] = closest[scored]
    query, column = _by_target(*linear_sum_assignment(cost[:, objects]))
    resembles[query] = objects[column]
    return FrameMatch(_assignment(query, objects[column]), torch.from_numpy(resembles))


def _by_appearance(costs: Sequence[np.ndarray], first: np.ndarray) -> Assignment:
    """Costs (N, G) of each frame; first (G,), the frame in which each object appears."""
    free = np.arange(len(costs[0]))
    rows, objects = [], []
    for t, cost in enumerate(costs):
        appearing = (first == t).nonzero()[0]
        query, column = linear_sum_assignment(cost[np.ix_(free, appearing)])
        rows.append(free[query])
        objects.append(appearing[column])
        free = np.delete(free, query)
    return _assignment(np.concatenate(rows), np.concatenate(objects))


def _by_target(query: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = target.argsort()
    return query[order], target[order]


def _assignment(query: np.ndarray, target: np.ndarray) -> Assignment:
    return Assignment(torch.from_numpy(query), torch.from_numpy(target))


def _sample_frames(masks: Tensor, where: Tensor) -> Tensor:
    """(T, N, P) values of masks (T, N, h, w) at the points (T, P, 2) of each frame."""
    return torch.stack([sample_points(m, p[None]) for m, p in zip(masks, where, strict=True)])


def to_host(tensors: Sequence[Tensor]) -> list[np.ndarray]:
    """Fetches tensors in one transfer; all take the dtype of the first."""
    flat = torch.cat([tensor.to(tensors[0].dtype).flatten() for tensor in tensors]).cpu()
    pieces = flat.split([tensor.numel() for tensor in tensors])
    return [p.view(t.shape).numpy() for p, t in zip(pieces, tensors, strict=True)]


def check_finite(total: np.ndarray, costs: PairCosts, names: Sequence[str]) -> None:
    """Raises FloatingPointError that says which cost of which of the F sets is at fault."""
    for index, name in enumerate(names):
        if np.isfinite(total[index]).all():
            continue
        parts = costs._asdict().items()
        bad = [part.strip("_") for part, cost in parts if not cost[index].isfinite().all()]
        raise FloatingPointError(
            f"{name}: the {' and '.join(bad) or 'weighted'} cost of matching is not finite; "
            "look at the predictions (diverged training?) and at SOLVER.PRECISION"
        )
