"""Association by similarity of embeddings, frame to frame: MinVIS, CTVIS. No parameters."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from dvis_daq.layers import at_least_float32, no_autocast
from dvis_daq.structures import FrameOutputs, Predictions
from dvis_daq.tracker.state import TrackerStep, TrackState


class EmbeddingTracker(nn.Module):
    """Each query of the first frame is a chain through the video, without birth or death.

    Args:
        embedding: what is compared, (1, Q, C) of a frame: the normalised object queries
            (MinVIS, the default) or the re-identification embeddings (CTVIS).
    """

    def __init__(self, embedding: Callable[[FrameOutputs], Tensor] = attrgetter("embeds")) -> None:
        super().__init__()
        self.embedding = embedding
        self.empty: Tensor
        # Follows the module to its device and dtype, as a parameter would.
        self.register_buffer("empty", torch.empty(0, 0), persistent=False)

    def start(self) -> TrackState:
        """The state before the first frame of a video; there is no appearance, C = 0."""
        return TrackState.start(self.empty, self.empty, window=1)

    def step(
        self, state: TrackState, frame: FrameOutputs, hidden: Tensor | None = None
    ) -> TrackerStep:
        """Puts the candidates of one frame in the order of the tracks.

        Args:
            state: N tracks; their queries are the embeddings they had in the last frame.
            frame: T = 1, Q candidates.
            hidden: not used, there is nothing to simulate.

        Raises:
            ValueError: the frame has not as many candidates as there are tracks.
        """
        embeds = self.embedding(frame)[0]  # (Q, C)
        if state.frame == 0:
            order = torch.arange(len(embeds), device=embeds.device)
        else:
            order = most_similar(state.queries, embeds)
        return TrackerStep(
            tracked=Predictions(frame.logits[:, order], frame.masks[0, order][None, :, None]),
            queries=embeds[order],
            appearance=embeds.new_empty(len(order), 0),
            num_tracked=len(state),
        )


@torch.no_grad()
def most_similar(previous: Tensor, embeds: Tensor) -> Tensor:
    """One-to-one assignment of the largest cosine similarity in sum.

    Args:
        previous: (N, C).
        embeds: (N, C).

    Returns:
        (N,) int64, the row of `embeds` for each row of `previous`.

    Raises:
        ValueError: the numbers of rows differ.
    """
    previous, embeds = at_least_float32(previous), at_least_float32(embeds)
    if len(previous) != len(embeds):
        raise ValueError(f"{len(previous)} chains cannot continue in {len(embeds)} queries")
    first, second = (
        x / torch.linalg.vector_norm(x, dim=-1, keepdim=True) for x in (previous, embeds)
    )
    with no_autocast(first):  # close queries differ by less than half precision resolves
        cost = (1 - first @ second.T).cpu()
    _, chosen = linear_sum_assignment(cost.numpy())
    return torch.from_numpy(chosen).to(embeds.device)
