"""Dynamic anchor queries (paper Sec. 3.2): where a tracker starts looking.

`EmergenceAnchors` and `DisappearanceAnchors` make the queries of `DAQTracker`. What they take
from the candidates and the tracks is a function of its own for each row of Tab. 3b, 3e and 3f;
the defaults are the released choice and have no parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from dvis_daq.layers import at_least_float32, no_autocast
from dvis_daq.structures import FrameOutputs, foreground_score

EPS = 1e-6


class Queries(NamedTuple):
    """Queries as an attention layer takes them: content, and what is added to it."""

    feature: Tensor  # (N, C)
    position: Tensor  # (N, C)

    def join(self, other: Queries) -> Queries:
        """Appends the queries of `other` after these."""
        return Queries(*(torch.cat(pair) for pair in zip(self, other, strict=True)))


class Rivals(NamedTuple):
    """DAQ_Dis, one row for each of N tracks and S background embeddings."""

    feature: Tensor  # (N + S, C) state at the start
    position: Tensor  # (N + S, C) added to it where it reads the candidates
    rivals: Tensor  # (N + S, C) what competes in the softmax over the queries
    initial: Tensor | None  # (N + S,) the segmenter's learned query that `feature` is


# What DAQ_Emg take from the Q candidates of a frame (T = 1): (Q, C); Tab. 3e
EmergenceFeature = Callable[[Queries, FrameOutputs], Tensor]
# How (M, C) learned queries use (M, C) such features; Tab. 3e
EmergenceUsage = Callable[[Tensor, Tensor], Queries]
# Rows (N + S, C) and initial queries (Q, C) -> start of the rows, and which query it is; Tab. 3f
DisappearanceStart = Callable[[Tensor, Tensor], tuple[Tensor, Tensor | None]]
# What competes in the softmax, (N + S, C) of N + S rows; Tab. 3f
DisappearancePosition = Callable[[Queries], Tensor]


def candidate_appearance(candidates: Queries, frame: FrameOutputs) -> Tensor:
    """AppF of Tab. 3e: F_mask of each candidate (Eq. 3), the released choice."""
    return candidates.position


def candidate_query(candidates: Queries, frame: FrameOutputs) -> Tensor:
    """SegQ: the segmenter's object query."""
    return candidates.feature


def candidate_position(candidates: Queries, frame: FrameOutputs) -> Tensor:
    """SegP: the learned position of the segmenter's query, the same in every frame.

    Raises:
        ValueError: the segmenter has no such positions.
    """
    if frame.query_positions is None:
        raise ValueError(
            "this segmenter has no positions of its queries; "
            "choose another MODEL.TRACKER.ANCHORS.EMERGENCE_FEATURE than SegP"
        )
    return frame.query_positions


def as_position(query: Tensor, feature: Tensor) -> Queries:
    """Pos of Tab. 3e: the feature is the position of the query (Eq. 3), the released choice."""
    return Queries(query, feature)


def added(query: Tensor, feature: Tensor) -> Queries:
    """Add: the feature is added to the query, which has no position (ours; the paper is silent)."""
    return Queries(query + feature, torch.zeros_like(query))


class Concatenated(nn.Module):
    """Cat: query and feature side by side, brought back to width C by a layer that learns (ours).

    Without a position, as `added`.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.mix = nn.Linear(2 * dim, dim)

    def forward(self, query: Tensor, feature: Tensor) -> Queries:
        return Queries(self.mix(torch.cat([query, feature], dim=-1)), torch.zeros_like(query))


class EmergenceAnchors(nn.Module):
    """DAQ_Emg: learned queries at a feature of each candidate.

    Args:
        feature: what is taken from the candidates.
        usage: how a query uses it; a module may learn.
        top_k: K of Tab. 3b, candidates with the best scores that get anchors; None for all.
    """

    def __init__(
        self,
        *,
        feature: EmergenceFeature = candidate_appearance,
        usage: EmergenceUsage = as_position,
        top_k: int | None = None,
    ) -> None:
        super().__init__()
        self.feature = feature
        self.usage = usage
        self.top_k = top_k

    def forward(self, queries: Tensor, candidates: Queries, frame: FrameOutputs) -> Queries:
        """Anchors of one frame.

        Args:
            queries: (E, C) learned, all of them at each candidate (N of Tab. 3b; released: 1).
            candidates: Q of them, with their appearance as position.
            frame: T = 1, of the same candidates.

        Returns:
            M = E min(K, Q) anchors; those of a candidate stand together.
        """
        feature = self.feature(candidates, frame)
        if self.top_k is not None and self.top_k < len(feature):
            scores = foreground_score(frame.logits[0])
            feature = feature[scores.topk(self.top_k).indices]
        shared = queries.repeat(len(feature), 1)
        return self.usage(shared, feature.repeat_interleave(len(queries), dim=0))


def nearest_start(rows: Tensor, initial_queries: Tensor) -> tuple[Tensor, Tensor | None]:
    """Initial SegQ of Tab. 3f: the initial query nearest to each row, the released choice."""
    initial = nearest_initial_queries(rows, initial_queries)
    return initial_queries[initial], initial


class LearnedStart(nn.Module):
    """Learn: every row starts as the same learned query."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query = nn.Embedding(1, dim)

    def forward(self, rows: Tensor, initial_queries: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.query.weight.expand_as(rows), None


def track_appearance(rows: Queries) -> Tensor:
    """CTQP of Tab. 3f: the momentum-weighted appearance, the released choice."""
    return rows.position


def track_query(rows: Queries) -> Tensor:
    """CTQF: the feature of the track's query."""
    return rows.feature


class DisappearanceAnchors(nn.Module):
    """DAQ_Dis: where each track and each background row begins.

    Where paper and released weights differ the weights win: the attention always takes the CTQ
    *feature* as position, and CTQP or CTQF (Tab. 3f) drives the softmax over the queries.

    Args:
        start: what the rows begin as; a module may learn.
        position: what competes in the softmax.
    """

    def __init__(
        self,
        *,
        start: DisappearanceStart = nearest_start,
        position: DisappearancePosition = track_appearance,
    ) -> None:
        super().__init__()
        self.start = start
        self.position = position

    def forward(self, tracks: Queries, background: Tensor, initial_queries: Tensor) -> Rivals:
        """Anchors of one frame.

        Args:
            tracks: N continuously tracked queries.
            background: (S, C) learned, rows without a track.
            initial_queries: (Q, C) of the segmenter.
        """
        rows = tracks.join(Queries(background, background))
        feature, initial = self.start(rows.feature, initial_queries)
        return Rivals(feature, rows.feature, self.position(rows), initial)


@torch.no_grad()
def nearest_initial_queries(rows: Tensor, initial_queries: Tensor) -> Tensor:
    """Matches rows to the segmenter's learned queries by cosine similarity.

    One to one as far as it goes; a row that is left over takes its nearest. The assignment
    is solved on the host, the one transfer of a tracker step.

    Args:
        rows: (R, C).
        initial_queries: (Q, C).

    Returns:
        (R,) int64, 0..Q-1.

    Raises:
        ValueError: a row or a query is not finite.
    """
    with no_autocast(rows):  # close queries differ by less than half precision resolves
        cost = (1 - _unit(rows) @ _unit(initial_queries).T).cpu()  # (R, Q)
    if not cost.isfinite().all():
        raise ValueError("nearest initial queries: a track or a learned query is not finite")
    nearest = cost.argmin(1)
    matched, chosen = map(torch.from_numpy, linear_sum_assignment(cost.numpy()))
    nearest[matched] = chosen
    return nearest.to(rows.device)


def _unit(x: Tensor) -> Tensor:
    x = at_least_float32(x)
    return x / (torch.linalg.vector_norm(x, dim=-1, keepdim=True) + EPS)
