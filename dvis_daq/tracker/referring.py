"""The tracker of DVIS++ with static anchor queries, the baseline of DVIS-DAQ.

Every candidate of the first frame is a row for the whole video: it carries a track, or waits
as background for an object to appear. A row asks the candidates of a frame with a reference
made from its last output, and takes their answer onto the query of the candidate it resembles
(referring cross-attention).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dvis_daq.layers import (
    MLP,
    FeedForward,
    MultiheadAttention,
    SelfAttention,
    at_least_float32,
    mask_products,
)
from dvis_daq.structures import FrameOutputs, Predictions
from dvis_daq.tracker.embedding import most_similar
from dvis_daq.tracker.state import TrackerStep, TrackState


def normed_candidates(frames: FrameOutputs) -> Tensor:
    """(T, Q, C) [object query ; re-id embedding], what rows and candidates are compared by.

    Without a re-id head the object query alone.
    """
    return _with_reid(frames.embeds, frames)


def raw_candidates(frames: FrameOutputs) -> Tensor:
    """(T, Q, C) the same before the last normalisation: what the rows read.

    Raises:
        ValueError: the segmenter gave no raw queries.
    """
    if frames.raw_embeds is None:
        raise ValueError("raw_embeds of the frames is None; the referring tracker reads them")
    return _with_reid(frames.raw_embeds, frames)


class Start(NamedTuple):
    """What the Q rows begin a frame as."""

    queries: Tensor  # (Q, C)
    candidates: Tensor  # (Q,) int64, the candidate that each row stands for


@dataclass(frozen=True, kw_only=True)
class ReferringStep(TrackerStep):
    """A `TrackerStep` whose appearance is that of the candidate each row stands for.

    Attributes:
        references: (Q, C) what the rows asked with; they describe the last frame's output.
        candidates: (Q,) int64, the candidate that each row stands for.
    """

    references: Tensor
    candidates: Tensor


class ReferringTracker(nn.Module):
    """Tracks a fixed number of rows; keeps nothing between two calls of `step`.

    Args:
        hidden_dim: C, width of `normed_candidates`.
        mask_dim: D, channels of the segmenter's mask features.
        num_classes: K, without background.
        layers: L.
        heads: of every attention.
        feedforward_dim: hidden width of the feed-forward layers.
    """

    def __init__(
        self,
        *,
        hidden_dim: int,
        mask_dim: int,
        num_classes: int,
        layers: int = 6,
        heads: int = 8,
        feedforward_dim: int = 2048,
    ) -> None:
        super().__init__()
        self.hidden_dim = hidden_dim
        # Released checkpoints name these layers as those of tracker 1 of DVIS-DAQ. With one
        # name here, too, one table of names serves both (`checkpoint.names`).
        self.emergence = ReferringLayers(hidden_dim, heads, feedforward_dim, layers)
        self.reference_mlp = MLP(hidden_dim, hidden_dim, hidden_dim, hidden_dim)
        self.mask_feature_proj = nn.Conv2d(mask_dim, mask_dim, kernel_size=1)
        self.head = ReferringHead(hidden_dim, num_classes, mask_dim)

    def start(self) -> TrackState:
        """The state before the first frame of a video."""
        empty = self.head.class_embed.weight.detach().new_empty(0, self.hidden_dim)
        return TrackState.start(empty, empty, window=1)

    def step(
        self,
        state: TrackState,
        frame: FrameOutputs,
        hidden: Tensor | None = None,
        *,
        start: Start | None = None,
    ) -> ReferringStep:
        """Looks at one frame.

        In training all layers are predicted, in evaluation the last alone.

        Args:
            state: before the frame; Q tracks, or none before the first frame.
            frame: T = 1, Q candidates.
            hidden: not used, there is no disappearance to simulate.
            start: what the rows begin as, for training with noise; None aligns each row with
                the candidate that resembles its last one.

        Raises:
            ValueError: `frame` has more than one frame, or Q has changed.
        """
        if len(frame) != 1:
            raise ValueError(f"a tracker steps through single frames, got {len(frame)} at once")
        raw, normed = raw_candidates(frame)[0], normed_candidates(frame)[0]  # (Q, C)
        if start is None:
            start = self._align(state, raw, normed)
        # On the first frame no row has an output yet: it asks with itself, layer by layer.
        references = self.reference_mlp(raw if state.frame == 0 else state.queries)
        ask = self.reference_mlp if state.frame == 0 else lambda _: references
        layers = self.emergence(start.queries, raw, ask)  # (L, Q, C)
        shown = layers if self.training else layers[-1:]
        return ReferringStep(
            tracked=self.head(shown, references, frame.mask_features, self.mask_feature_proj),
            queries=layers[-1],
            appearance=at_least_float32(normed[start.candidates]),
            num_tracked=len(state),
            references=references,
            candidates=start.candidates,
        )

    def _align(self, state: TrackState, raw: Tensor, normed: Tensor) -> Start:
        if state.frame == 0:
            order = torch.arange(len(raw), device=raw.device)
        else:  # with a window of 1, `recent` is the last frame's appearance at unit length
            order = most_similar(state.appearance.recent[:, -1], normed)
        return Start(raw[order], order)


class ReferringLayers(nn.Module):
    """Rows read the candidates, see each other, and think."""

    def __init__(self, dim: int, heads: int, feedforward_dim: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            ReferringLayer(dim, heads, feedforward_dim) for _ in range(layers)
        )

    def forward(self, x: Tensor, candidates: Tensor, ask: Callable[[Tensor], Tensor]) -> Tensor:
        """(L, Q, C), the output of each layer.

        Args:
            x: (Q, C) what the rows begin as.
            candidates: (Q, C).
            ask: makes the query of a layer from its input.
        """
        outputs = []
        for layer in self.layers:
            x = layer(x, ask(x), candidates)
            outputs.append(x)
        return torch.stack(outputs)


class ReferringLayer(nn.Module):
    """Referring cross-attention, self-attention, feed-forward; no positions."""

    def __init__(self, dim: int, heads: int, feedforward_dim: int) -> None:
        super().__init__()
        self.cross_attn = ReferringCrossAttention(dim, heads)
        self.self_attn = SelfAttention(dim, heads)
        self.ffn = FeedForward(dim, feedforward_dim)

    def forward(self, x: Tensor, query: Tensor, candidates: Tensor) -> Tensor:
        return self.ffn(self.self_attn(self.cross_attn(x, query, candidates)))


class ReferringCrossAttention(nn.Module):
    """LN(x + MHA(query, memory, memory)): the query only asks, the residual is another tensor."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.multihead_attn = MultiheadAttention(dim, heads)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, query: Tensor, memory: Tensor) -> Tensor:
        """(N, C) from rows and queries (N, C) and a memory (S, C)."""
        return self.norm(x + self.multihead_attn(query, memory, memory))


class ReferringHead(nn.Module):
    """A `MaskHead` whose classes are read off reference and feature together."""

    def __init__(self, hidden_dim: int, num_classes: int, mask_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden_dim)
        self.class_embed = nn.Linear(2 * hidden_dim, num_classes + 1)
        self.mask_embed = MLP(hidden_dim, hidden_dim, hidden_dim, mask_dim)

    def forward(
        self, x: Tensor, references: Tensor, mask_features: Tensor, projection: nn.Conv2d
    ) -> Predictions:
        """Predicts for L layers at once.

        Args:
            x: (L, N, C) query features before normalisation.
            references: (N, C), the same for all layers.
            mask_features: (T, D, h, w).
            projection: 1x1 convolution that they pass first, see `mask_products`.
        """
        x = self.norm(x)
        both = torch.cat([references.expand_as(x), x], dim=-1)
        masks = mask_products(self.mask_embed(x), mask_features, projection)
        return Predictions(self.class_embed(both), masks if self.training else masks.dense())


def _with_reid(queries: Tensor, frames: FrameOutputs) -> Tensor:
    return queries if frames.reid is None else torch.cat([queries, frames.reid], dim=-1)
