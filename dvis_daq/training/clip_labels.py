"""Unified video label assignment of GenVIS: an object keeps its row for the whole video.

Rows are given when an object is first seen, one clip after another, in each decoder layer by
itself. No gradient is taken; the host decides, with one transfer of costs a clip.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from dvis_daq.layers.points import sample_points
from dvis_daq.layers.precision import at_least_float32
from dvis_daq.structures import Assignment, ClipTargets, Predictions
from dvis_daq.training.losses import LossWeights
from dvis_daq.training.matching import PairCosts, check_finite, pair_costs, to_host
from dvis_daq.training.points import PointSampler

NO_ROW = -1


def no_rows(layers: int, objects: int) -> Tensor:
    """(L, G) before the first clip."""
    return torch.full((layers, objects), NO_ROW)


@torch.no_grad()
def assign_rows(
    held: Tensor,
    predictions: Predictions,
    targets: ClipTargets,
    *,
    valid: Tensor,
    new: Tensor,
    weights: LossWeights,
    points: PointSampler,
    where: str = "this clip",
) -> Tensor:
    """Gives rows to the objects that are seen for the first time.

    As released, a row whose object is not to be seen in this clip may be given away; its
    object comes back to the same row.

    Args:
        held: (L, G) int64 on the CPU, row of each object in each layer; NO_ROW for none.
        predictions: N rows of L layers over T frames.
        targets: G objects over the same frames, masks padded like the frames.
        valid: (G,) bool on the CPU, objects that can be seen in this clip.
        new: (G,) bool on the CPU, those of them that could not be seen earlier.
        weights: of the three costs.
        points: source of the points, the same in every frame.
        where: names the clip in errors.

    Returns:
        (L, G) with the new objects. One for which no row is free has none.

    Raises:
        FloatingPointError: a cost is not finite; names the cost, the layer and `where`.
    """
    held, objects = held.clone(), new.nonzero().squeeze(1)
    if not len(objects):
        return held
    costs = clip_costs(predictions, targets[objects.to(targets.labels.device), :], points)
    [total] = to_host([costs.total(weights)])
    check_finite(total, costs, [f"{where}, layer {layer}" for layer in range(len(total))])
    for rows, cost in zip(held, total, strict=True):
        free = np.ones(len(cost), dtype=bool)
        kept = rows[valid & ~new]
        free[kept[kept >= 0].numpy()] = False
        candidates = free.nonzero()[0]
        row, column = linear_sum_assignment(cost[candidates])
        rows[objects[torch.from_numpy(column)]] = torch.from_numpy(candidates[row])
    return held


def pairs_of(rows: Tensor) -> Assignment:
    """The pairs of the objects that have a row, from a layer's (G,)."""
    objects = (rows != NO_ROW).nonzero().squeeze(1)
    return Assignment(rows[objects], objects)


def clip_costs(predictions: Predictions, targets: ClipTargets, points: PointSampler) -> PairCosts:
    """Costs (L, N, G) at the same points in every frame, whose values are put side by side."""
    masks = at_least_float32(predictions.masks)  # (L, N, T, h, w)
    where = points.uniform(1, like=masks)
    samples = sample_points(masks.flatten(0, 2), where).unflatten(0, masks.shape[:3])
    truth = sample_points(targets.masks.flatten(0, 1), where)
    truth = truth.unflatten(0, targets.masks.shape[:2])  # (G, T, P)
    return pair_costs(predictions.logits, samples.flatten(2), targets.labels, truth.flatten(1))
