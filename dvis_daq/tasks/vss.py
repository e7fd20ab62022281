"""Video semantic segmentation: every pixel has one class, summed over the tracks."""

from __future__ import annotations

from typing import TypedDict

import torch
from torch import Tensor

from dvis_daq.structures import FrameSizes, VideoPrediction
from dvis_daq.tasks.resize import PIXEL_BUDGET, by_frames, resized_probabilities


class Semantic(TypedDict):
    """`semantic` is (T, H, W) int16 of class indices; every pixel has a class."""

    task: str
    semantic: Tensor


def semantic(
    prediction: VideoPrediction, sizes: FrameSizes, *, device: torch.device | None = None
) -> Semantic:
    """Class of each pixel: argmax over K of the sum over tracks of class x mask probability.

    Args:
        device: where masks are resized and summed up; None: where they are.
    """
    classes = prediction.class_scores()[:, :-1]  # (N, K)
    labels = torch.zeros(prediction.masks.shape[1], *sizes.output, dtype=torch.int16)
    pieces = by_frames(prediction.masks, sizes, resized_probabilities, device=device)
    for piece, probability in pieces:
        pixels = probability.flatten(1)  # (N, P)
        chunk = max(1, PIXEL_BUDGET // classes.shape[1])
        best = [_best_class(classes.to(pixels), part) for part in pixels.split(chunk, dim=1)]
        labels[piece] = torch.cat(best).view(labels[piece].shape).to(labels)
    return Semantic(task="vss", semantic=labels)


def _best_class(classes: Tensor, pixels: Tensor) -> Tensor:
    """(P,) int64 from classes (N, K) and mask probabilities (N, P)."""
    return torch.einsum("nk,np->kp", classes, pixels).argmax(0)
