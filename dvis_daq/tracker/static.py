"""Static anchors with standard cross-attention: the baseline of Tab. 3a.

Tracker 1 of DVIS-DAQ without dynamic anchors: every candidate of the first frame is a row for
the whole video, and a row that holds no object waits, as its own last output, for a new one.
No code of this baseline is released; the rules are our reading of the paper.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dvis_daq.layers import MaskHead
from dvis_daq.structures import FrameOutputs
from dvis_daq.tracker.anchors import Queries
from dvis_daq.tracker.daq import EmergenceTracker
from dvis_daq.tracker.state import TrackerStep, TrackState


class StaticTracker(nn.Module):
    """Tracks a fixed number of rows, without positions; names and layers as in `DAQTracker`.

    Args:
        hidden_dim: C, width of all queries.
        mask_dim: D, channels of the segmenter's mask features.
        num_classes: K, without background.
        layers: of the tracker.
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
        self.emergence = EmergenceTracker(hidden_dim, heads, feedforward_dim, layers)
        self.mask_feature_proj = nn.Conv2d(mask_dim, mask_dim, kernel_size=1)
        self.head = MaskHead(hidden_dim, num_classes, mask_dim)

    def start(self) -> TrackState:
        """The state before the first frame of a video; there is no appearance, C = 0."""
        weight = self.head.class_embed.weight.detach()  # (K + 1, C)
        return TrackState.start(weight[:0], weight.new_empty(0, 0), window=1)

    def step(
        self, state: TrackState, frame: FrameOutputs, hidden: Tensor | None = None
    ) -> TrackerStep:
        """Looks at one frame.

        In training all layers are predicted, index 0 being the input; in evaluation the last
        alone.

        Args:
            state: before the frame; Q tracks, or none before the first frame.
            frame: T = 1, Q candidates.
            hidden: not used, there is no disappearance to simulate.

        Raises:
            ValueError: `frame` has more than one frame.
        """
        if len(frame) != 1:
            raise ValueError(f"a tracker steps through single frames, got {len(frame)} at once")
        candidates = _without_position(frame.embeds[0])
        rows = candidates if state.frame == 0 else _without_position(state.queries)
        layers = self.emergence(rows, candidates)  # (L, Q, C)
        shown = layers if self.training else layers[-1:]
        return TrackerStep(
            tracked=self.head(shown, frame.mask_features, self.mask_feature_proj),
            queries=layers[-1],
            appearance=layers.new_empty(layers.shape[1], 0),
            num_tracked=len(state),
        )


def _without_position(queries: Tensor) -> Queries:
    return Queries(queries, torch.zeros_like(queries))
