"""Video object segmentation: the tracks of the objects that the first frame is given with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from dvis_daq.layers import at_least_float32
from dvis_daq.structures import ClipTargets, FrameSizes, VideoPrediction
from dvis_daq.tasks.resize import by_frames, resized

EPS = 1e-6

Overlap = Callable[[Tensor, Tensor], Tensor]  # mask logits (N, h, w), objects (G, h, w) -> (N, G)


class Objects(TypedDict):
    """`objects` is (T, H, W) uint8 of object numbers, 0 for the background.

    `numbers[i]` is followed by the track with the id `tracks[i]`, -1 where there is none.
    """

    task: str
    objects: Tensor
    numbers: list[int]
    tracks: list[int]


def objects(
    prediction: VideoPrediction,
    sizes: FrameSizes,
    first_frame: ClipTargets,
    *,
    max_tracks: int,
    overlap: Overlap,
    device: torch.device | None = None,
) -> Objects:
    """Follows the given objects with the tracks that look most like them in the first frame.

    Where two objects have a pixel, the lower number wins, as released.

    Args:
        first_frame: G objects, masks (G, 1, H, W) at the output size, ids below 256.
        max_tracks: only the best so many tracks are considered.
        overlap: `mask_overlap`, or `first_frame_overlap` as released.
        device: where masks are resized; None: where they are.
    """
    scores = prediction.class_scores()[:, :-1].amax(-1)
    best = scores.topk(min(max_tracks, len(scores))).indices.to(prediction.masks.device)
    masks = prediction.masks[best]
    given = at_stride_4(
        first_frame.masks[:, 0].to(masks.device), sizes, (masks.shape[2], masks.shape[3])
    )
    rows = tracks_of_objects(masks[:, 0], given, overlap)
    order = first_frame.ids.argsort()
    numbers, rows = first_frame.ids[order].tolist(), rows[order]
    ids = [int(prediction.ids[best[row].cpu()]) if row >= 0 else -1 for row in rows.tolist()]
    labels = torch.zeros(masks.shape[1], *sizes.output, dtype=torch.uint8)
    found = [number for number, row in zip(numbers, rows.tolist(), strict=True) if row >= 0]
    followed = masks[rows[rows >= 0].to(masks.device)]
    for piece, logits in by_frames(followed, sizes, resized, device=device):
        for number, mask in reversed(list(zip(found, logits > 0, strict=True))):
            labels[piece][mask.cpu()] = number
    return Objects(task="vos", objects=labels, numbers=numbers, tracks=ids)


def at_stride_4(masks: Tensor, sizes: FrameSizes, size: tuple[int, int]) -> Tensor:
    """Given masks (G, H, W) bool as the network sees them: padded, (G, *size)."""
    if len(masks) == 0:  # F.interpolate refuses an empty batch
        return masks.new_zeros(0, *size)
    (height, width), (rows, columns) = sizes.image, sizes.padded
    small = F.interpolate(masks[None].to(torch.uint8), (height, width), mode="nearest")
    padded = F.pad(small, (0, columns - width, 0, rows - height))
    return F.interpolate(padded, size, mode="nearest")[0].bool()


def tracks_of_objects(masks: Tensor, objects: Tensor, overlap: Overlap | None = None) -> Tensor:
    """Gives each object the track whose mask overlaps it, one to one, by the largest sum.

    Args:
        masks: (N, h, w) mask logits of the tracks in the first frame.
        objects: (G, h, w) bool, the given masks at the same size.
        overlap: None for `first_frame_overlap`.

    Returns:
        (G,) int64 on the CPU, a row of `masks`; -1 for objects beyond the number of tracks, and
        where the overlap is 0.

    Raises:
        ValueError: the sizes differ.
    """
    shared = (overlap or first_frame_overlap)(masks, objects).cpu().numpy()
    rows, columns = linear_sum_assignment(1 - shared)
    track = torch.full((len(objects),), -1)
    track[torch.from_numpy(columns)] = torch.from_numpy(rows)
    track[torch.from_numpy(columns[shared[rows, columns] == 0])] = -1
    return track


def mask_overlap(masks: Tensor, objects: Tensor) -> Tensor:
    """IoU of tracks with given objects, 0..1.

    Args:
        masks: (N, h, w) mask logits; above 0 is foreground.
        objects: (G, h, w) bool.

    Returns:
        (N, G).

    Raises:
        ValueError: the sizes differ.
    """
    _check_sizes(masks, objects)
    said = (masks > 0).flatten(1).float()  # (N, P)
    given = objects.flatten(1).to(said)  # (G, P)
    inter = said @ given.T
    union = said.sum(1, keepdim=True) + given.sum(1) - inter
    return inter / union.clamp(min=1)


def first_frame_overlap(masks: Tensor, objects: Tensor) -> Tensor:
    """Overlap of tracks with given objects, as released: of mask logits, not of masks.

    The logits are truncated to whole numbers of eight bits and enter the soft formulas of
    intersection and union as they are; the result is therefore not bounded by 0 and 1, and a
    track with large negative logits around a perfect mask can come out below a wrong one.

    Args:
        masks: (N, h, w) mask logits.
        objects: (G, h, w) bool.

    Returns:
        (N, G).

    Raises:
        ValueError: the sizes differ.
    """
    _check_sizes(masks, objects)
    said = at_least_float32(masks).trunc().clamp(-128, 127).flatten(1)  # (N, P)
    given = objects.flatten(1).to(said)  # (G, P)
    inter = said @ given.T
    union = said.sum(1, keepdim=True) + given.sum(1) - inter
    return (inter + EPS) / (union + EPS)


def _check_sizes(masks: Tensor, objects: Tensor) -> None:
    if masks.shape[1:] != objects.shape[1:]:
        raise ValueError(
            f"masks of tracks {tuple(masks.shape)} and of objects {tuple(objects.shape)} "
            "differ in height or width"
        )
