"""GenVIS with dynamic anchors (paper, supplement A.2 and Tab. A1).

The paper says only that DAQ was integrated into GenVIS without its memory; how is ours. The
static rows become tracks and emergence anchors, as in `DAQTracker`: their positions are the
appearance of what they stand for, so the learned positions of rows and candidates go. A second
tracker asks of each track whether it is still there; it starts from the clip queries that the
rows of GenVIS began as. Clips have one frame. As in DVIS-DAQ the rows of a first frame are its
candidates: anchors alone, which begin alike, hardly learn to tell apart two candidates of one
object (docs/ablations.md, Tab. A1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor, nn

from dvis_daq.layers import MLP, Shares, at_least_float32, mask_pool, shares_of_queries
from dvis_daq.structures import FrameOutputs
from dvis_daq.tracker.anchors import DisappearanceAnchors, EmergenceAnchors, Queries
from dvis_daq.tracker.clip import ClipModule, ClipStep
from dvis_daq.tracker.daq import DisappearanceTracker
from dvis_daq.tracker.state import TrackState, Transition


class GenVISDAQTracker(nn.Module):
    """Tracks objects from frame to frame; keeps nothing between two calls of `step`.

    Args:
        clip: reads the candidates of a frame.
        num_queries: learned queries that tracker 2 starts from.
        mask_dim: D, channels of the clip module's mask features.
        heads: of every attention of tracker 2.
        feedforward_dim: hidden width of its feed-forward layers.
        layers: of tracker 2, as many as the clip module's decoder has.
        background_queries: S, rows of tracker 2 for what belongs to no track.
        window: W, earlier observations that an appearance is compared with (Eq. 5).
        shares: what competes in tracker 2 (Tab. A4a).
        anchors_first: the rows of a first frame are emergence anchors, not candidates.
        emergence: makes what makes DAQ_Emg, one for each candidate.
        disappearance: makes what makes DAQ_Dis.
    """

    def __init__(
        self,
        clip: ClipModule,
        *,
        num_queries: int,
        mask_dim: int,
        heads: int = 8,
        feedforward_dim: int = 2048,
        layers: int = 3,
        background_queries: int = 5,
        window: int = 9,
        shares: Shares = shares_of_queries,
        anchors_first: bool = False,
        emergence: Callable[[], EmergenceAnchors] = EmergenceAnchors,
        disappearance: Callable[[], DisappearanceAnchors] = DisappearanceAnchors,
    ) -> None:
        super().__init__()
        dim = clip.hidden_dim
        self.clip = clip
        self.window = window
        self.anchors_first = anchors_first
        self.clip_queries = nn.Embedding(num_queries, dim)
        self.emergence_query = nn.Embedding(1, dim)
        self.background_queries = nn.Embedding(background_queries, dim)
        self.emergence_anchors = emergence()
        self.disappearance_anchors = disappearance()
        self.disappearance = DisappearanceTracker(dim, heads, feedforward_dim, layers, shares)
        self.appearance_mlp = MLP(mask_dim, dim, dim, dim)

    def start(self) -> TrackState:
        """The state before the first frame of a video."""
        empty = self.emergence_query.weight.detach()[:0]  # (0, C)
        return TrackState.start(empty, empty, self.window)

    def step(
        self, state: TrackState, frame: FrameOutputs, hidden: Tensor | None = None
    ) -> ClipStep:
        """Looks at one frame.

        In training all decoder layers are predicted, in evaluation the last alone; tracker 2
        makes masks in training only. It does not run on the first frame of a video.

        Args:
            state: N tracks, before the frame.
            frame: T = 1, Q candidates.
            hidden: (Q,) bool, candidates that tracker 2 must not see (Sec. 3.3). Where it is
                all of them, none is hidden.

        Raises:
            ValueError: `frame` has more than one frame, or lacks pixel features.
        """
        if len(frame) != 1:
            raise ValueError(f"GenVIS_DAQ steps through single frames, got {len(frame)} at once")
        features = self.clip.mask_features(frame)  # (1, D, h, w)
        tokens = self.clip.encode(frame.embeds)  # (1, Q, C)
        candidates = Queries(tokens[0], self._appearance(frame.masks[0], features))
        tracks = Queries(state.queries, state.appearance.mean)
        anchors = self.emergence_anchors(self.emergence_query.weight, candidates, frame)
        rows = tracks.join(anchors)
        if state.frame == 0 and not self.anchors_first:
            rows = candidates
        layers = self.clip.read(rows, tokens, candidates.position)  # (L, N + M, C)
        tracked = self.clip.predict(layers, features)
        step = ClipStep(
            tracked=tracked,
            queries=layers[-1],
            appearance=self._appearance(tracked.final.masks[0, :, 0], features),
            num_tracked=len(state),
            emergence=Transition(rows.feature + rows.position, layers[-1]),
            row_similarity=self.clip.row_similarity(self.clip.head.norm(layers[-1])),
            candidate_similarity=self.clip.candidate_similarity(tokens),
        )
        return (
            step if state.frame == 0 else self._disappearing(step, tracks, tokens, features, hidden)
        )

    def _disappearing(
        self,
        step: ClipStep,
        tracks: Queries,
        tokens: Tensor,
        features: Tensor,
        hidden: Tensor | None,
    ) -> ClipStep:
        """The step with what tracker 2 says of the tracks."""
        rivals = self.disappearance_anchors(
            tracks, self.background_queries.weight, self.clip_queries.weight
        )
        if hidden is not None:
            hidden = hidden & ~hidden.all()
        layers = self.disappearance(rivals, tokens[0], hidden)  # (L, N + S, C)
        shown = features if self.training else features[:0]
        return replace(
            step,
            disappearing=self.clip.predict(layers, shown),
            anchors=rivals.initial,
            disappearance=Transition(rivals.feature + rivals.position, layers[-1]),
        )

    def _appearance(self, masks: Tensor, features: Tensor) -> Tensor:
        """(N, C) appearance of the masks (N, h, w) in the mask features (1, D, h, w) (Eq. 3)."""
        pooled = mask_pool(features[0], masks)
        return at_least_float32(self.appearance_mlp(pooled))  # the memory stays in float32
