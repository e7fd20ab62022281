"""Video panoptic segmentation: every pixel belongs to one track, or to none."""

from __future__ import annotations

from typing import TypedDict

import torch
from torch import Tensor

from dvis_daq.structures import FrameSizes, VideoPrediction
from dvis_daq.tasks.resize import by_tracks, resized_probabilities


class Segment(TypedDict):
    """One segment of a video; a class of stuff is one segment, whatever its tracks."""

    id: int  # 1, 2, ... its value in the map
    category_id: int  # class index, things first
    isthing: bool
    track: int  # id of the track, of the first one for stuff


class Panoptic(TypedDict):
    """`panoptic` is (T, H, W) int16 of segment ids, 0 where there is none."""

    task: str
    panoptic: Tensor
    segments: list[Segment]


def panoptic(
    prediction: VideoPrediction,
    sizes: FrameSizes,
    *,
    num_things: int,
    score_threshold: float = 0.8,
    overlap_threshold: float = 0.8,
    device: torch.device | None = None,
) -> Panoptic:
    """Gives each pixel to the track with the largest score x mask probability.

    Args:
        num_things: classes 0..num_things - 1 are things, the rest is stuff.
        score_threshold: 0..1, a track needs more.
        overlap_threshold: 0..1, a track is dropped that wins less than this share of its own
            area; areas are counted over the whole video.
        device: where masks are resized and compared; None: where they are.
    """
    scores, labels = prediction.class_scores().max(-1)
    background = prediction.logits.shape[1] - 1
    rows = ((labels != background) & (scores > score_threshold)).nonzero().squeeze(1)
    scores, labels, ids = scores[rows], labels[rows], prediction.ids[rows]
    masks = prediction.masks[rows.to(prediction.masks.device)]
    winners, shares = _compete(masks, scores, sizes, device)
    segments, table = _segments(shares >= overlap_threshold, labels, ids, num_things)
    for frame in winners:  # in place: the map of a long video is large
        frame.copy_(table[frame.long()])
    return Panoptic(task="vps", panoptic=winners, segments=segments)


def _compete(
    masks: Tensor, scores: Tensor, sizes: FrameSizes, device: torch.device | None
) -> tuple[Tensor, Tensor]:
    """Who wins each pixel, and which share of its own area each of N tracks wins.

    Returns:
        (T, H, W) int16 row + 1 of the winner where its own mask has the pixel, else 0; and
        (N,) shares, -1 where a track has no pixel of its own, or none left.
    """
    tracks, frames = masks.shape[:2]
    winners = torch.zeros(frames, *sizes.output, dtype=torch.int16)
    if tracks == 0:
        return winners, scores
    won, own, kept = torch.zeros(3, tracks, dtype=torch.int64)
    best = winner = hit = torch.zeros(0)
    for piece, rows, probability in by_tracks(masks, sizes, resized_probabilities, device=device):
        inside = probability >= 0.5
        own[rows] += inside.sum((1, 2, 3)).cpu()
        weight = scores[rows].to(probability)[:, None, None, None]
        top, row = (weight * probability).max(0)  # (t, H, W); of equal ones the first
        sure = inside.gather(0, row[None])[0]
        if rows.start == 0:
            best, winner, hit = top, row, sure
        else:
            better = top > best
            best, hit = torch.where(better, top, best), torch.where(better, sure, hit)
            winner = torch.where(better, row + rows.start, winner)
        if rows.stop == tracks:
            won += torch.bincount(winner.flatten(), minlength=tracks).cpu()
            kept += torch.bincount(winner[hit], minlength=tracks).cpu()
            winners[piece] = torch.where(hit, winner + 1, 0).to(winners)
    # As released, the share is that of all pixels won, those outside of the own mask included.
    return winners, torch.where((own > 0) & (kept > 0), won / own.clamp(min=1), -1.0)


def _segments(
    keep: Tensor, labels: Tensor, ids: Tensor, num_things: int
) -> tuple[list[Segment], Tensor]:
    """Segments in order of birth, and the (N + 1,) int16 table from row + 1 to segment id."""
    segments: list[Segment] = []
    stuff: dict[int, int] = {}  # class -> segment id
    table = torch.zeros(len(labels) + 1, dtype=torch.int16)
    for row, (label, track) in enumerate(zip(labels.tolist(), ids.tolist(), strict=True)):
        if not keep[row]:
            continue
        if label not in stuff:
            segment = len(segments) + 1
            isthing = label < num_things
            segments.append(Segment(id=segment, category_id=label, isthing=isthing, track=track))
            if not isthing:
                stuff[label] = segment
        table[row + 1] = stuff.get(label, len(segments))
    return segments, table
