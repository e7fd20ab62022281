"""The losses on matched predictions (paper Eq. 6), with the released normalisation.

Everything that one GPU says in a step, rows of all frames and clips, goes into one sum; the
sums are divided by denominators that are means over the GPUs. With DistributedDataParallel,
which averages gradients, N processes with a share of the batch each so give the gradients of
one process with all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, distributed
from torch.nn import functional as F

from dvis_daq.layers.points import sample_points
from dvis_daq.layers.precision import at_least_float32
from dvis_daq.structures import Assignment, ClipTargets, Predictions
from dvis_daq.training.points import PointSampler


@dataclass(frozen=True)
class LossWeights:
    """Weights of the losses; the matching costs use the same three.

    Attributes:
        class_: of the cross entropy (cost: of the missing probability).
        mask: of the binary cross entropy of the masks.
        dice: of the dice loss.
        no_object: of background rows against 1 for all others, within the cross entropy.
    """

    class_: float = 2.0
    mask: float = 5.0
    dice: float = 5.0
    no_object: float = 0.1


@dataclass(frozen=True)
class Supervision:
    """What N rows said in L layers of one frame or clip, beside what they should have said.

    Attributes:
        logits: (L, N, K + 1) class logits.
        labels: (N,) int64 wanted class of each row, K for background.
        masks: (L, P, T h, w) mask logits of the P rows that show an object; the T frames of a
            clip stand one below the other.
        truth: (P, T H, W) bool, the true masks of these rows.
        frames: T.
        count: what this adds to the denominator of the mask losses.
        each_frame: points are drawn in each frame by itself (GenVIS), not all over the clip.
    """

    logits: Tensor
    labels: Tensor
    masks: Tensor
    truth: Tensor
    frames: int
    count: int
    each_frame: bool = False


class LayerLosses(NamedTuple):
    """Weighted losses of each of L layers, (L,) each."""

    class_: Tensor
    mask: Tensor
    dice: Tensor

    def named(self, prefix: str = "") -> dict[str, Tensor]:
        """The released names: `loss_ce`, `loss_mask`, `loss_dice`; earlier layers `_0`, `_1`..."""
        last = len(self.class_) - 1
        suffixes = [f"_{layer}" for layer in range(last)] + [""]
        names = ("loss_ce", "loss_mask", "loss_dice")
        return {
            f"{prefix}{name}{suffix}": value
            for name, values in zip(names, self, strict=True)
            for suffix, value in zip(suffixes, values.unbind(), strict=True)
        }


def tall(maps: Tensor) -> Tensor:
    """Puts the frames of (..., T, h, w) one below the other: (..., T h, w)."""
    return maps.flatten(-3, -2)


def supervise(
    predictions: Predictions,
    targets: ClipTargets,
    assignment: Assignment,
    *,
    positive: Tensor | None = None,
    count: int | None = None,
    each_frame: bool = False,
) -> Supervision:
    """Says what each row of a prediction should be.

    Args:
        predictions: N rows over T frames, L layers.
        targets: G objects over the same T frames, masks padded like the frames.
        assignment: pairs of a row and its object.
        positive: (G,) bool on the CPU, the objects that can be seen here; the rows of the
            others are background without a mask loss. None: all, whether they can be seen or
            not (MinVIS, CTVIS, DVIS++: an absent object has its class and an empty mask).
        count: share in the denominator of the mask losses; None for the number of pairs,
            those that are not positive included.
        each_frame: see `Supervision`.

    Raises:
        ValueError: predictions and targets differ in their number of frames.
    """
    frames = predictions.num_frames
    if frames != targets.num_frames:
        raise ValueError(
            f"predictions {tuple(predictions.source.shape)} and targets "
            f"{tuple(targets.masks.shape)} differ in frames"
        )
    device = predictions.logits.device
    query, target = assignment
    if positive is not None:
        shown = positive[target]
        query, target = query[shown], target[shown]
    query, target = query.to(device), target.to(device)
    background = predictions.logits.shape[-1] - 1
    labels = torch.full((len(predictions),), background, device=device)
    labels[query] = targets.labels[target]
    return Supervision(
        logits=predictions.logits,
        labels=labels,
        masks=tall(predictions.rows(query).masks),
        truth=tall(targets.masks[target]),
        frames=frames,
        count=len(assignment.query) if count is None else count,
        each_frame=each_frame,
    )


def set_loss(
    items: Sequence[Supervision], *, weights: LossWeights, points: PointSampler, prefix: str = ""
) -> dict[str, Tensor]:
    """The named, weighted losses of `layer_losses`."""
    return layer_losses(items, weights=weights, points=points).named(prefix)


def layer_losses(
    items: Sequence[Supervision], *, weights: LossWeights, points: PointSampler
) -> LayerLosses:
    """One class loss over the rows of all items, one mask and dice loss over their masks.

    Without any positive row the mask losses are zeros that keep the graph, because
    DistributedDataParallel wants a gradient for every trained parameter in every step.

    Args:
        items: of all frames and clips of this GPU, at least one, with the same L and K.
        weights: of the losses.
        points: where masks are compared; each mask of each layer at its own points.

    Raises:
        ValueError: no items.
    """
    if not items:
        raise ValueError("no predictions to supervise: a step needs at least one frame")
    logits = at_least_float32(torch.cat([item.logits for item in items], dim=1))
    labels = torch.cat([item.labels for item in items])
    class_sum, class_norm = class_loss(logits, labels, weights.no_object)
    mask_sum, dice_sum = _mask_losses(items, points)
    pairs = class_norm.new_tensor(sum(item.count for item in items))
    totals, ranks = sum_over_ranks(torch.stack([class_norm, pairs]))
    class_norm, pairs = totals[0] / ranks, totals[1].clamp(min=1) / ranks
    return LayerLosses(
        class_=weights.class_ * class_sum / class_norm,
        mask=weights.mask * mask_sum / pairs,
        dice=weights.dice * dice_sum / pairs,
    )


def class_loss(logits: Tensor, labels: Tensor, no_object: float) -> tuple[Tensor, Tensor]:
    """Cross entropy of the classes, background rows with the weight `no_object`.

    Args:
        logits: (L, N, K + 1).
        labels: (N,) int64, K for background.
        no_object: weight of the background class.

    Returns:
        (L,) weighted sums over the rows, and () the sum of the weights to divide them by.
    """
    layers, rows, classes = logits.shape
    weight = logits.new_ones(classes)
    weight[-1] = no_object
    loss = F.cross_entropy(
        logits.flatten(0, 1), labels.repeat(layers), weight=weight, reduction="none"
    )
    return loss.view(layers, rows).sum(1), weight[labels].sum()


def mask_loss(samples: Tensor, truth: Tensor) -> Tensor:
    """(...) binary cross entropy of mask logits (..., P) against truth (..., P), mean over P."""
    return F.binary_cross_entropy_with_logits(samples, truth, reduction="none").mean(-1)


def dice_loss(samples: Tensor, truth: Tensor) -> Tensor:
    """(...) 1 - (2 |s t| + 1) / (|s| + |t| + 1), s the sigmoid of mask logits (..., P)."""
    samples = samples.sigmoid()
    overlap = (samples * truth).sum(-1)
    return 1 - (2 * overlap + 1) / (samples.sum(-1) + truth.sum(-1) + 1)


def sum_over_ranks(totals: Tensor) -> tuple[Tensor, int]:
    """The sum of `totals` over the processes, and how many processes there are."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return totals, 1
    totals = totals.clone()
    distributed.all_reduce(totals)
    return totals, distributed.get_world_size()


def _mask_losses(items: Sequence[Supervision], points: PointSampler) -> tuple[Tensor, Tensor]:
    """(L,) sums over all positive rows of the mask and of the dice loss."""
    by_shape: dict[tuple[object, ...], list[Supervision]] = {}
    for item in items:
        shape = (item.frames, item.each_frame, item.masks.shape[2:], item.truth.shape[1:])
        by_shape.setdefault(shape, []).append(item)
    mask_sum = dice_sum = items[0].logits.new_zeros(len(items[0].logits))
    for group in by_shape.values():
        samples, truth = _sample(group, points)
        mask_sum = mask_sum + mask_loss(samples, truth).sum(1)
        dice_sum = dice_sum + dice_loss(samples, truth).sum(1)
    return mask_sum, dice_sum


def _sample(group: Sequence[Supervision], points: PointSampler) -> tuple[Tensor, Tensor]:
    """(L, N, P) logits and truth of all positive rows of items with equal map sizes."""
    masks = at_least_float32(torch.cat([item.masks for item in group], dim=1))
    truth = torch.cat([item.truth for item in group])
    frames, rows = group[0].frames, masks.shape[1]
    if not group[0].each_frame:
        return _sample_maps(masks, truth, points, frames=frames)
    # Each frame is a row of its own, until its points join those of the others.
    masks = masks.unflatten(2, (frames, -1)).flatten(1, 2)
    truth = truth.unflatten(1, (frames, -1)).flatten(0, 1)
    samples, wanted = _sample_maps(masks, truth, points, frames=1)
    split = (rows, frames)
    return samples.unflatten(1, split).flatten(2), wanted.unflatten(1, split).flatten(2)


def _sample_maps(
    masks: Tensor, truth: Tensor, points: PointSampler, *, frames: int
) -> tuple[Tensor, Tensor]:
    """(L, N, P) values of masks (L, N, h, w) and truth (N, H, W), `frames` in each map."""
    truth = truth.to(masks.dtype)
    samples, wanted = [], []
    for layer in masks:  # one at a time needs a share of the memory, and less time for it
        where = points.uncertain(layer.detach(), frames=frames)  # (N, P, 2)
        samples.append(sample_points(layer, where))
        wanted.append(sample_points(truth, where))
    return torch.stack(samples), torch.stack(wanted)
