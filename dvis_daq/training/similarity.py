"""Similarity loss of GenVIS: embeddings of one object are alike, those of two are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from dvis_daq.layers.precision import at_least_float32, no_autocast
from dvis_daq.structures import Assignment
from dvis_daq.tracker.clip import ClipStep
from dvis_daq.training.losses import sum_over_ranks


class SimilarityItem(NamedTuple):
    """E embeddings of one clip, and the object that each belongs to."""

    embeddings: Tensor  # (E, C)
    objects: Tensor  # (E,) int64


def similarity_item(
    step: ClipStep, rows: Assignment, candidates: Sequence[Assignment]
) -> SimilarityItem:
    """The rows that show an object, and the candidates that do, in each of T frames."""
    device = step.queries.device
    per_frame = zip(step.candidate_similarity, candidates, strict=True)
    embeddings = [step.row_similarity[rows.query.to(device)]]
    embeddings += [frame[pairs.query.to(device)] for frame, pairs in per_frame]
    objects = torch.cat([rows.target, *(pairs.target for pairs in candidates)])
    return SimilarityItem(torch.cat(embeddings), objects.to(device))


def similarity_loss(items: Sequence[SimilarityItem]) -> Tensor:
    """() mean over all pairs of one item, of all items of all processes; self pairs included.

    Binary cross entropy with dot products as logits. Without a pair it is a zero that keeps
    the graph.
    """
    sums, pairs = [], 0
    for embeddings, objects in items:
        embeddings = at_least_float32(embeddings)
        with no_autocast(embeddings):
            logits = embeddings @ embeddings.T
        same = (objects[:, None] == objects).to(logits)
        sums.append(F.binary_cross_entropy_with_logits(logits, same, reduction="sum"))
        pairs += same.numel()
    total, ranks = sum_over_ranks(sums[0].new_tensor(float(pairs)))
    return torch.stack(sums).sum() / (total.clamp(min=1) / ranks)
