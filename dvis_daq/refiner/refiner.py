"""The temporal refiner: polishes the queries of whole tracks (paper Sec. 3.1, from DVIS).

There is no positional encoding. Frames in which a track does not live are padded: by what
`sequences.py` fills them with, by a learned query, or not at all, and then hidden (Tab. A4c).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from dvis_daq.layers import CrossAttention, FeedForward, MaskHead, SelfAttention
from dvis_daq.structures import Predictions


class TemporalRefiner(nn.Module):
    """Tracks look along time, at each other, and at the candidates of every frame.

    Args:
        hidden_dim: C, width of all queries.
        mask_dim: D, channels of the segmenter's mask features.
        num_classes: K, without background.
        layers: L.
        heads: of every attention.
        feedforward_dim: hidden width of the feed-forward layers.
        local_conv: a convolution along time in each layer.
        learned_padding: padded frames are a learned query, the same for all tracks.
        hide_padding: no row sees a padded frame of another row or time.
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
        local_conv: bool = False,
        learned_padding: bool = False,
        hide_padding: bool = False,
    ) -> None:
        super().__init__()
        self.hide_padding = hide_padding
        self.padding_query = nn.Embedding(1, hidden_dim) if learned_padding else None
        self.layers = nn.ModuleList(
            RefinerLayer(hidden_dim, heads, feedforward_dim, local_conv=local_conv)
            for _ in range(layers)
        )
        self.head = MaskHead(hidden_dim, num_classes, mask_dim)
        self.frame_weight = nn.Linear(hidden_dim, 1)

    def forward(self, tracks: Tensor, candidates: Tensor, padded: Tensor | None = None) -> Tensor:
        """Refines the queries of N tracks over T frames.

        Args:
            tracks: (T, N, C).
            candidates: (T, Q, C) what the tracks read of each frame.
            padded: (T, N) bool, where a track does not live; None: nowhere.

        Returns:
            (L, T, N, C), the output of every layer; of the last alone in evaluation mode.
        """
        x, outputs, hidden = tracks, [], _NOTHING_HIDDEN
        if padded is not None and self.padding_query is not None:
            x = torch.where(padded[..., None], self.padding_query.weight, x)
        if padded is not None and self.hide_padding:
            hidden = hide(padded)
        for layer in self.layers:
            x = layer(x, candidates, hidden)
            outputs.append(x)
        return torch.stack(outputs if self.training else outputs[-1:])

    def predict(self, refined: Tensor, mask_features: Tensor) -> Predictions:
        """Classes of whole tracks, and their masks in all T frames.

        Args:
            refined: (L, T, N, C) from `forward`.
            mask_features: (T, D, h, w) of the segmenter, not projected.
        """
        return Predictions(self.classify(refined), self.masks(refined, mask_features))

    def classify(self, refined: Tensor) -> Tensor:
        """(L, N, K + 1) class logits; frames are weighed by what they tell of the track."""
        normed = self.head.norm(refined)  # (L, T, N, C)
        weight = self.frame_weight(normed).softmax(dim=1)  # over the T frames
        return self.head.class_embed((weight * normed).sum(dim=1))

    def masks(self, refined: Tensor, mask_features: Tensor) -> Tensor:
        """(L, N, T, h, w) mask logits; any piece of the frames may be asked for by itself."""
        embeds = self.head.mask_embed(self.head.norm(refined))  # (L, T, N, D)
        return torch.einsum("ltnd,tdhw->lnthw", embeds, mask_features)


def larger_scores(refined: Tensor, online: Tensor) -> Tensor:
    """(N, K + 1) scores of logits likewise: the larger of both for each class (DVIS++).

    The background keeps the refined one's.
    """
    refined, online = refined.softmax(-1), online.softmax(-1)
    return torch.cat([torch.maximum(refined, online)[:, :-1], refined[:, -1:]], dim=1)


class Hidden(NamedTuple):
    """Rows that attention must not see; None: it sees all."""

    in_time: Tensor | None  # (N, 1, T) bool, for the frames of each track
    among_tracks: Tensor | None  # (T, N, N) bool, for the tracks of each frame


_NOTHING_HIDDEN = Hidden(None, None)


def hide(padded: Tensor) -> Hidden:
    """Hides padded frames, (T, N) bool. A track still sees itself, so that none sees nothing."""
    itself = torch.eye(padded.shape[1], dtype=torch.bool, device=padded.device)
    return Hidden(in_time=padded.T[:, None], among_tracks=padded[:, None] & ~itself)


class RefinerLayer(nn.Module):
    """Attention along time, between tracks, to the frame's candidates; feed-forward."""

    def __init__(self, dim: int, heads: int, feedforward_dim: int, *, local_conv: bool) -> None:
        super().__init__()
        self.time_attn = SelfAttention(dim, heads)
        if local_conv:
            self.time_conv = nn.Sequential(_along_time(dim, 5), nn.ReLU(), _along_time(dim, 3))
            self.time_conv_norm = nn.LayerNorm(dim)
        else:
            self.time_conv = None
        self.object_attn = SelfAttention(dim, heads)
        self.cross_attn = CrossAttention(dim, heads)
        self.ffn = FeedForward(dim, feedforward_dim)

    def forward(self, x: Tensor, candidates: Tensor, hidden: Hidden) -> Tensor:
        """(T, N, C) tracks and (T, Q, C) candidates -> (T, N, C)."""
        x = self.time_attn(x.transpose(0, 1), blocked=hidden.in_time)  # (N, T, C)
        if self.time_conv is not None:
            x = self.time_conv_norm(x + self.time_conv(x.mT).mT)
        x = self.object_attn(x.transpose(0, 1), blocked=hidden.among_tracks)
        return self.ffn(self.cross_attn(x, candidates))


def _along_time(dim: int, width: int) -> nn.Conv1d:
    """A convolution that keeps the length; the first and last frames are repeated."""
    return nn.Conv1d(dim, dim, width, padding=width // 2, padding_mode="replicate")
