"""Video instance segmentation: the best (track, class) pairs, each with its masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from dvis_daq.structures import FrameSizes, VideoPrediction
from dvis_daq.tasks.resize import by_frames, resized, unpadded

RLE = dict[str, Any]  # {"size": [H, W], "counts": str}
Confidence = Callable[[Tensor, FrameSizes], Tensor]  # masks (n, T, h, w) -> (n,) 0..1


class Instances(TypedDict):
    """n instances of a video, best first.

    `masks[i][t]` is the RLE of instance i in frame t, None where it has no pixel; instances
    of one track under different labels share the list.
    """

    task: str
    scores: Tensor  # (n,) 0..1
    labels: Tensor  # (n,) int64 class index
    ids: Tensor  # (n,) int64 track
    masks: list[list[RLE | None]]


def instances(
    prediction: VideoPrediction,
    sizes: FrameSizes,
    max_instances: int,
    confidence: Confidence | None = None,
    *,
    device: torch.device | None = None,
) -> Instances:
    """The best (track, class) pairs; a track may appear under several classes, as released.

    Only the tracks among them are resized, a few frames at a time, and only their RLE is
    kept, so that memory does not grow with the output size.

    Args:
        max_instances: pairs reported at most.
        confidence: of their masks, what the scores of the reported pairs are multiplied by;
            None leaves them.
        device: where masks are resized; None: where they are.
    """
    scores, labels, rows = top_pairs(prediction.class_scores(), max_instances)
    tracks, position = rows.unique(return_inverse=True)
    masks = prediction.masks[tracks.to(prediction.masks.device)]
    if confidence is not None:
        scores = scores * confidence(masks, sizes).to(scores)[position]
        scores, order = scores.sort(descending=True, stable=True)
        labels, rows, position = labels[order], rows[order], position[order]
    encoded = encode_tracks(masks, sizes, device=device)
    return Instances(
        task="vis",
        scores=scores.cpu(),
        labels=labels.cpu(),
        ids=prediction.ids[rows].cpu(),
        masks=[encoded[p] for p in position.tolist()],
    )


def mask_confidence(masks: Tensor, sizes: FrameSizes) -> Tensor:
    """(N,) mean probability of the foreground pixels of a whole video (GenVIS).

    Args:
        masks: (N, T, h, w) logits; judged at the size of the network's input.
    """
    inside = masks.new_zeros(len(masks), dtype=torch.float64)
    total = inside.clone()
    for _, logits in by_frames(masks, sizes, unpadded):
        foreground = logits > 0
        inside += foreground.flatten(1).sum(1)
        total += (logits.sigmoid() * foreground).flatten(1).sum(1)
    return total / (inside + 1e-6)


class InstancesInPieces:
    """`instances` of a video that is handed over piece by piece, as it leaves memory.

    Run lengths are kept of all tracks, since only the end of the video tells which are the best.

    Args:
        sizes: of the video.
        max_instances: pairs reported at most.
    """

    def __init__(self, sizes: FrameSizes, max_instances: int) -> None:
        self._sizes = sizes
        self._max_instances = max_instances
        self._frames = 0
        self._masks: dict[int, list[RLE | None]] = {}
        self._scores: dict[int, Tensor] = {}

    def __len__(self) -> int:
        """Frames seen."""
        return self._frames

    def add(self, piece: VideoPrediction) -> None:
        """The next frames; the scores of their tracks replace those of earlier pieces."""
        encoded = encode_tracks(piece.masks, self._sizes)
        for track, masks, scores in zip(
            piece.ids.tolist(), encoded, piece.class_scores().cpu(), strict=True
        ):
            known = self._masks.setdefault(track, [])
            known += [None] * (self._frames - len(known)) + masks
            self._scores[track] = scores
        self._frames += piece.masks.shape[1]

    def result(self) -> Instances:
        """The best pairs of all tracks seen."""
        tracks = sorted(self._masks)  # in order of birth, as in a whole video
        table = torch.stack([self._scores[track] for track in tracks])
        scores, labels, rows = top_pairs(table, self._max_instances)
        ids = torch.tensor(tracks)[rows]
        masks = (self._masks[track] for track in ids.tolist())
        return Instances(
            task="vis",
            scores=scores,
            labels=labels,
            ids=ids,
            masks=[track + [None] * (self._frames - len(track)) for track in masks],
        )


def top_pairs(scores: Tensor, max_instances: int) -> tuple[Tensor, Tensor, Tensor]:
    """Best pairs of a track and a real class.

    Args:
        scores: (N, K + 1) 0..1, background last.

    Returns:
        Scores (n,), labels (n,) and rows (n,), best first; n = min(max_instances, N * K).
    """
    scores = scores[:, :-1]  # (N, K)
    best, index = scores.flatten().topk(min(max_instances, scores.numel()))
    return best, index % scores.shape[1], index // scores.shape[1]


def encode_tracks(
    masks: Tensor, sizes: FrameSizes, *, device: torch.device | None = None
) -> list[list[RLE | None]]:
    """RLEs of stride-4 mask logits at the output size.

    Args:
        masks: (N, T, h, w) logits; above 0 is foreground.
        device: where they are resized; None: where they are.

    Returns:
        One list of T for each track; None for an empty mask.
    """
    encoded: list[list[RLE | None]] = [[] for _ in range(masks.shape[0])]
    for _, logits in by_frames(masks, sizes, resized, device=device):
        for track, frames in zip(encoded, logits > 0, strict=True):
            track.extend(encode(frames))
    return encoded


def encode(masks: Tensor) -> list[RLE | None]:
    """COCO run lengths of bool masks (T, H, W); None for an empty one."""
    # Column-major, as run lengths are: transposing on the device spares numpy the copy.
    columns = masks.transpose(1, 2).to(torch.uint8).contiguous().cpu().numpy()  # (T, W, H)
    runs = coco_mask.encode(columns.transpose(2, 1, 0))
    filled = masks.flatten(1).any(1).tolist()
    return [
        {"size": run["size"], "counts": run["counts"].decode("ascii")} if pixels else None
        for run, pixels in zip(runs, filled, strict=True)
    ]


def decode(track: list[RLE | None], size: tuple[int, int]) -> np.ndarray:
    """Bool masks (T, *size) of one track's RLEs."""
    masks = np.zeros((len(track), *size), dtype=bool)
    for mask, run in zip(masks, track, strict=True):
        if run is not None:
            mask[:] = coco_mask.decode(run)
    return masks
