"""Tracks as rectangles, and the sizes of a small padded video."""

from __future__ import annotations

import torch

from dvis_daq.structures import FrameSizes, VideoPrediction

SIZES = FrameSizes(padded=(32, 32), image=(24, 30), output=(48, 60))
Box = tuple[int, int, int, int]  # top, left, bottom, right at stride 4


def make_prediction(
    boxes: list[list[Box | None]], labels: list[int], score: float = 0.95, classes: int = 4
) -> VideoPrediction:
    """One track for each list of boxes, one box for each frame; label -1 is background."""
    tracks, frames = len(boxes), len(boxes[0]) if boxes else 2
    masks = torch.full((tracks, frames, 8, 8), -10.0)
    for n, track in enumerate(boxes):
        for t, box in enumerate(track):
            if box is not None:
                top, left, bottom, right = box
                masks[n, t, top:bottom, left:right] = 10.0
    probabilities = torch.full((tracks, classes + 1), (1 - score) / classes)
    probabilities[torch.arange(tracks), torch.tensor(labels, dtype=torch.int64)] = score
    return VideoPrediction(10 + torch.arange(tracks), probabilities.log(), masks)
