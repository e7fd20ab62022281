"""The clip module of GenVIS: a clip's frame queries become clip queries.

Candidates of all frames of a clip see each other (encoder); rows that stand for objects read
them (decoder) and tell a class and, with one mask embedding for the clip, a mask in each frame.
What the rows are, learned ones that are carried on or tracks and anchors, is the business of
the trackers that hold this module.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dvis_daq.layers import CrossAttention, FeedForward, MaskHead, SelfAttention
from dvis_daq.structures import FrameOutputs, Predictions
from dvis_daq.tracker.anchors import Queries
from dvis_daq.tracker.state import TrackerStep


@dataclass(frozen=True, kw_only=True)
class ClipStep(TrackerStep):
    """A `TrackerStep` of a clip, with embeddings that are alike for the same object.

    Attributes:
        row_similarity: (N + M, C) of the rows.
        candidate_similarity: (T, Q, C) of the candidates of each frame.
    """

    row_similarity: Tensor
    candidate_similarity: Tensor


class ClipModule(nn.Module):
    """Encoder, decoder and heads; keeps nothing between two clips.

    Args:
        hidden_dim: C, width of candidates and rows.
        pixel_dim: E, channels of the segmenter's `pixel_features`.
        mask_dim: D, channels of the mask features that are made of them.
        num_classes: K, without background.
        encoder_layers: of the encoder.
        decoder_layers: L, of the decoder.
        heads: of every attention.
        feedforward_dim: hidden width of the feed-forward layers.
    """

    def __init__(
        self,
        *,
        hidden_dim: int,
        pixel_dim: int,
        mask_dim: int,
        num_classes: int,
        encoder_layers: int = 6,
        decoder_layers: int = 3,
        heads: int = 8,
        feedforward_dim: int = 2048,
    ) -> None:
        super().__init__()
        self.candidate_proj = nn.Linear(hidden_dim, hidden_dim)
        self.encoder = ClipEncoder(hidden_dim, heads, feedforward_dim, encoder_layers)
        self.decoder = ClipDecoder(hidden_dim, heads, feedforward_dim, decoder_layers)
        self.feature_proj = nn.Conv2d(pixel_dim, mask_dim, kernel_size=1)
        self.head = MaskHead(hidden_dim, num_classes, mask_dim)
        self.candidate_similarity = nn.Linear(hidden_dim, hidden_dim)
        self.row_similarity = nn.Linear(hidden_dim, hidden_dim)

    @property
    def hidden_dim(self) -> int:
        return self.candidate_proj.in_features

    def encode(self, embeds: Tensor) -> Tensor:
        """(T, Q, C) candidates that have seen those of all T frames, without positions."""
        tokens = self.encoder(self.candidate_proj(embeds).flatten(0, 1))
        return tokens.unflatten(0, embeds.shape[:2])

    def mask_features(self, clip: FrameOutputs) -> Tensor:
        """(T, D, h, w) mask features of the clip.

        Raises:
            ValueError: the segmenter did not hand on its pixel features.
        """
        if clip.pixel_features is None:
            raise ValueError("pixel_features of the frames is None; GenVIS makes its masks of them")
        return self.feature_proj(clip.pixel_features)

    def read(self, rows: Queries, tokens: Tensor, position: Tensor) -> Tensor:
        """(L, N, C), what N rows become in each decoder layer.

        Args:
            rows: N of them.
            tokens: (T, Q, C) from `encode`.
            position: (Q, C), the same in every frame, or (T, Q, C).
        """
        position = position.expand_as(tokens)
        return self.decoder(rows, Queries(tokens.flatten(0, 1), position.flatten(0, 1)))

    def predict(self, layers: Tensor, mask_features: Tensor) -> Predictions:
        """Classes and masks of the rows; of the last layer alone in evaluation mode."""
        return self.head(layers if self.training else layers[-1:], mask_features)


class ClipEncoder(nn.Module):
    """Self-attention and feed-forward among the candidates of a clip."""

    def __init__(self, dim: int, heads: int, feedforward_dim: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            ClipEncoderLayer(dim, heads, feedforward_dim) for _ in range(layers)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens


class ClipEncoderLayer(nn.Module):
    """Without positions: frames of a clip are a set of candidates."""

    def __init__(self, dim: int, heads: int, feedforward_dim: int) -> None:
        super().__init__()
        self.self_attn = SelfAttention(dim, heads)
        self.ffn = FeedForward(dim, feedforward_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.ffn(self.self_attn(x))


class ClipDecoder(nn.Module):
    """Rows read the candidates and see each other, with positions in both."""

    def __init__(self, dim: int, heads: int, feedforward_dim: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            ClipDecoderLayer(dim, heads, feedforward_dim) for _ in range(layers)
        )

    def forward(self, rows: Queries, candidates: Queries) -> Tensor:
        """(L, N, C), the output of each layer."""
        x, outputs = rows.feature, []
        for layer in self.layers:
            x = layer(x, rows.position, candidates)
            outputs.append(x)
        return torch.stack(outputs)


class ClipDecoderLayer(nn.Module):
    """Cross-attention, self-attention, feed-forward."""

    def __init__(self, dim: int, heads: int, feedforward_dim: int) -> None:
        super().__init__()
        self.cross_attn = CrossAttention(dim, heads)
        self.self_attn = SelfAttention(dim, heads)
        self.ffn = FeedForward(dim, feedforward_dim)

    def forward(self, x: Tensor, position: Tensor, candidates: Queries) -> Tensor:
        x = self.cross_attn(
            x, candidates.feature, position=position, memory_position=candidates.position
        )
        return self.ffn(self.self_attn(x, position))
