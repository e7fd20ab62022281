"""The DVIS-DAQ tracker: tracker 1 and tracker 2 with dynamic anchor queries (paper Fig. 4, 6).

Tracker 1 (`emergence`) carries tracks on and tries each candidate of the segmenter as a
newcomer. Tracker 2 (`disappearance`) asks of each track whether it is still there. Both
see an image only through the segmenter's object queries, the candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from dvis_daq.layers import (
    MLP,
    CrossAttention,
    FeedForward,
    MaskHead,
    QuerySoftmaxAttention,
    SelfAttention,
    Shares,
    at_least_float32,
    mask_pool,
    shares_of_queries,
)
from dvis_daq.structures import FrameOutputs, Predictions
from dvis_daq.tracker.anchors import (
    DisappearanceAnchors,
    EmergenceAnchors,
    Queries,
    Rivals,
)
from dvis_daq.tracker.padding import RowPadding
from dvis_daq.tracker.state import TrackerStep, TrackState, Transition


class DAQTracker(nn.Module):
    """Tracks objects from frame to frame; keeps nothing between two calls of `step`.

    Args:
        hidden_dim: C, width of all queries.
        mask_dim: D, channels of the segmenter's mask features.
        num_classes: K, without background.
        layers: of tracker 1 and of tracker 2.
        heads: of every attention.
        feedforward_dim: hidden width of the feed-forward layers.
        emergence_queries: E, learned queries at each candidate (N of Tab. 3b).
        background_queries: S, rows of tracker 2 for what belongs to no track.
        window: W, earlier observations that an appearance is compared with (Eq. 5).
        shares: what competes in tracker 2 (Tab. A4a).
        emergence: makes what makes DAQ_Emg.
        disappearance: makes what makes DAQ_Dis; None leaves tracker 2 out (Tab. 3a).

    Attributes:
        padding: of the rows of both trackers, for code that is compiled (`engine.adaptation`).
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
        emergence_queries: int = 1,
        background_queries: int = 5,
        window: int = 9,
        shares: Shares = shares_of_queries,
        emergence: Callable[[], EmergenceAnchors] = EmergenceAnchors,
        disappearance: Callable[[], DisappearanceAnchors] | None = DisappearanceAnchors,
    ) -> None:
        super().__init__()
        self.window = window
        self.padding = RowPadding()
        self.emergence_anchors = emergence()
        self.emergence = EmergenceTracker(hidden_dim, heads, feedforward_dim, layers)
        self.emergence_query = nn.Embedding(emergence_queries, hidden_dim)
        self.disappearance: DisappearanceTracker | None = None
        if disappearance is not None:
            self.disappearance_anchors = disappearance()
            self.disappearance = DisappearanceTracker(
                hidden_dim, heads, feedforward_dim, layers, shares
            )
            self.background_queries = nn.Embedding(background_queries, hidden_dim)
        self.appearance_mlp = MLP(mask_dim, hidden_dim, hidden_dim, hidden_dim)
        self.mask_feature_proj = nn.Conv2d(mask_dim, mask_dim, kernel_size=1)
        self.head = MaskHead(hidden_dim, num_classes, mask_dim)

    def start(self) -> TrackState:
        """The state before the first frame of a video."""
        empty = self.emergence_query.weight.detach()[:0]  # (0, C)
        return TrackState.start(empty, empty, self.window)

    def step(
        self, state: TrackState, frame: FrameOutputs, hidden: Tensor | None = None
    ) -> TrackerStep:
        """Looks at one frame.

        On the first frame of a video the candidates themselves pass tracker 1, without
        positions, and tracker 2 does not run; later frames without tracks still have
        anchors. (The paper is silent, the weights were trained so.) In training all layers
        are predicted, index 0 of tracker 1 being its input; in evaluation the last alone, and
        tracker 2 makes no masks (T = 0), since only its scores are asked for.

        Args:
            state: N tracks, before the frame.
            frame: T = 1, Q candidates.
            hidden: (Q,) bool, candidates that tracker 2 must not see, for the simulation of
                disappearance (Sec. 3.3). Where it is all of them, none is hidden: an attention
                over nothing has no value.

        Raises:
            ValueError: `frame` has more than one frame.
        """
        if len(frame) != 1:
            raise ValueError(f"a tracker steps through single frames, got {len(frame)} at once")
        embeds = frame.embeds[0]  # (Q, C)
        if state.frame == 0:
            candidates = Queries(embeds, torch.zeros_like(embeds))
            return self._track(state, candidates, candidates, frame)
        candidates = Queries(embeds, self._appearance(frame.masks[0], frame))
        tracks = Queries(state.queries, state.appearance.mean)
        anchors = self.emergence_anchors(self.emergence_query.weight, candidates, frame)
        rows = tracks.join(anchors)
        if self.disappearance is None:
            return self._track(state, rows, candidates, frame)
        # Before tracker 1, so that the host does not wait for it: this is its one look at a GPU.
        rivals = self.disappearance_anchors(
            tracks, self.background_queries.weight, frame.initial_queries
        )
        step = self._track(state, rows, candidates, frame)
        if hidden is not None:
            hidden = hidden & ~hidden.all()
        layers = self.padding(self.disappearance, rivals, embeds, hidden)  # (L, N + S, C)
        shown = frame.mask_features if self.training else frame.mask_features[:0]
        gone = self._predict(layers, shown)
        moved = Transition(rivals.feature + rivals.position, layers[-1])
        return replace(step, disappearing=gone, anchors=rivals.initial, disappearance=moved)

    def _track(
        self,
        state: TrackState,
        queries: Queries,
        candidates: Queries,
        frame: FrameOutputs,
    ) -> TrackerStep:
        """Tracker 1 and what it predicts."""
        layers = self.padding(self.emergence, queries, candidates)  # (L, N + M, C)
        tracked = self._predict(layers, frame.mask_features)
        return TrackerStep(
            tracked=tracked,
            queries=layers[-1],
            appearance=self._appearance(tracked.final.masks[0, :, 0], frame),
            num_tracked=len(state),
            emergence=Transition(queries.feature + queries.position, layers[-1]),
        )

    def _predict(self, layers: Tensor, mask_features: Tensor) -> Predictions:
        shown = layers if self.training else layers[-1:]
        return self.head(shown, mask_features, self.mask_feature_proj)

    def _appearance(self, masks: Tensor, frame: FrameOutputs) -> Tensor:
        """(N, C) appearance of the masks (N, h, w) in the frame: F_mask of Eq. 3."""
        pooled = mask_pool(frame.mask_features[0], masks)
        return at_least_float32(self.appearance_mlp(pooled))  # the memory stays in float32


class EmergenceTracker(nn.Module):
    """Tracker 1: tracks and newcomers read the candidates and see each other."""

    def __init__(self, dim: int, heads: int, feedforward_dim: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EmergenceLayer(dim, heads, feedforward_dim) for _ in range(layers)
        )

    def forward(
        self, queries: Queries, candidates: Queries, absent: Tensor | None = None
    ) -> Tensor:
        """(L, N, C) of N queries: the input, then the output of each of the L - 1 layers.

        `absent`, (N,) bool, marks rows that the others must not see (`RowPadding`).
        """
        outputs = [queries.feature]
        for layer in self.layers:
            outputs.append(layer(outputs[-1], queries.position, candidates, absent))
        return torch.stack(outputs)


class EmergenceLayer(nn.Module):
    """Cross-attention with positions, self-attention without, feed-forward."""

    def __init__(self, dim: int, heads: int, feedforward_dim: int) -> None:
        super().__init__()
        self.cross_attn = CrossAttention(dim, heads)
        self.self_attn = SelfAttention(dim, heads)
        self.ffn = FeedForward(dim, feedforward_dim)

    def forward(
        self, x: Tensor, position: Tensor, candidates: Queries, absent: Tensor | None = None
    ) -> Tensor:
        x = self.cross_attn(
            x, candidates.feature, position=position, memory_position=candidates.position
        )
        return self.ffn(self.self_attn(x, blocked=absent))


class DisappearanceTracker(nn.Module):
    """Tracker 2: rows compete for the candidates, so that one left with nothing is gone."""

    def __init__(
        self, dim: int, heads: int, feedforward_dim: int, layers: int, shares: Shares
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DisappearanceLayer(dim, heads, feedforward_dim, shares) for _ in range(layers)
        )

    def forward(
        self,
        anchors: Rivals,
        candidates: Tensor,
        hidden: Tensor | None,
        absent: Tensor | None = None,
    ) -> Tensor:
        """(L, N + S, C), the output of each of the L layers.

        Args:
            anchors: N + S rows.
            candidates: (Q, C).
            hidden: (Q,) bool, candidates not to be seen.
            absent: (N + S,) bool, rows that do not compete (`RowPadding`).
        """
        x, outputs = anchors.feature, []
        for layer in self.layers:
            x = layer(x, anchors, candidates, hidden, absent)
            outputs.append(x)
        return torch.stack(outputs)


class DisappearanceLayer(nn.Module):
    """Cross-attention with the softmax over the queries, feed-forward (Fig. 6)."""

    def __init__(self, dim: int, heads: int, feedforward_dim: int, shares: Shares) -> None:
        super().__init__()
        self.cross_attn = QuerySoftmaxAttention(dim, heads, shares)
        self.ffn = FeedForward(dim, feedforward_dim)

    def forward(
        self,
        x: Tensor,
        anchors: Rivals,
        candidates: Tensor,
        hidden: Tensor | None,
        absent: Tensor | None = None,
    ) -> Tensor:
        x = self.cross_attn(
            x,
            candidates,
            position=anchors.position,
            anchors=anchors.rivals,
            blocked=hidden,
            absent=absent,
        )
        return self.ffn(x)
