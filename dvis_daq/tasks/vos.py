"""Video object segmentation: which tracks are the objects that the first frame shows."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from dvis_daq.layers import at_least_float32

EPS = 1e-6


def tracks_of_objects(masks: Tensor, objects: Tensor) -> Tensor:
    """Gives each object the track whose mask overlaps it, one to one, by the largest sum.

    Args:
        masks: (N, h, w) mask logits of the tracks in the first frame.
        objects: (G, h, w) bool, the given masks at the same size.

    Returns:
        (G,) int64 on the CPU, a row of `masks`; -1 for objects beyond the number of tracks.

    Raises:
        ValueError: the sizes differ.
    """
    rows, columns = linear_sum_assignment(1 - first_frame_overlap(masks, objects).cpu().numpy())
    track = torch.full((len(objects),), -1)
    track[torch.from_numpy(columns)] = torch.from_numpy(rows)
    return track


def first_frame_overlap(masks: Tensor, objects: Tensor) -> Tensor:
    """Overlap of tracks with given objects, as released: of mask logits, not of masks.

    The logits are truncated to whole numbers of eight bits and enter the soft formulas of
    intersection and union as they are; the result is therefore not bounded by 0 and 1.

    Args:
        masks: (N, h, w) mask logits.
        objects: (G, h, w) bool.

    Returns:
        (N, G).

    Raises:
        ValueError: the sizes differ.
    """
    if masks.shape[1:] != objects.shape[1:]:
        raise ValueError(
            f"masks of tracks {tuple(masks.shape)} and of objects {tuple(objects.shape)} "
            "differ in height or width"
        )
    said = at_least_float32(masks).trunc().clamp(-128, 127).flatten(1)  # (N, P)
    given = objects.flatten(1).to(said)  # (G, P)
    inter = said @ given.T
    union = said.sum(1, keepdim=True) + given.sum(1) - inter
    return (inter + EPS) / (union + EPS)
