"""Dynamic anchor queries (paper Sec. 3.2): where a tracker starts looking.

Each function here makes the queries of one kind; `DAQTracker` takes them as arguments, so
another choice of features (Tab. 3e, 3f) is another function of the same signature.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from dvis_daq.layers import at_least_float32, no_autocast

EPS = 1e-6


class Queries(NamedTuple):
    """Queries as an attention layer takes them: content, and what is added to it."""

    feature: Tensor  # (N, C)
    position: Tensor  # (N, C)

    def join(self, other: Queries) -> Queries:
        """Appends the queries of `other` after these."""
        return Queries(*(torch.cat(pair) for pair in zip(self, other, strict=True)))


class DisappearanceAnchors(NamedTuple):
    """DAQ_Dis, one row for each of N tracks and S background embeddings."""

    feature: Tensor  # (N + S, C) state at the start
    position: Tensor  # (N + S, C) added to it where it reads the candidates
    rivals: Tensor  # (N + S, C) what competes in the softmax over the queries
    initial: Tensor  # (N + S,) the segmenter's learned query that `feature` is


def emergence_anchors(query: Tensor, candidates: Queries) -> Queries:
    """DAQ_Emg: one shared query at the appearance of each candidate (Eq. 3, AppF / Pos).

    Args:
        query: (1, C) learned.
        candidates: Q of them, with their appearance as position.
    """
    return Queries(query.expand_as(candidates.feature), candidates.position)


def disappearance_anchors(
    tracks: Queries, background: Tensor, initial_queries: Tensor
) -> DisappearanceAnchors:
    """DAQ_Dis: the initial query nearest to each track (Initial SegQ).

    Where paper and released weights differ the weights win: the attention takes the CTQ
    *feature* as position, and the momentum-weighted appearance drives the softmax over
    the queries (CTQP).

    Args:
        tracks: N continuously tracked queries.
        background: (S, C) learned, rows without a track.
        initial_queries: (Q, C) of the segmenter.
    """
    rows = tracks.join(Queries(background, background))
    initial = nearest_initial_queries(rows.feature, initial_queries)
    return DisappearanceAnchors(initial_queries[initial], rows.feature, rows.position, initial)


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
