"""The values that travel between the parts: what S says, what A says, what is true.

Frozen dataclasses with checked shapes. Sizes, one letter each: T frames, Q candidates
(segmenter queries), N tracks, M newly anchored tracks, G ground-truth objects, K classes,
C query width, D mask-feature width, L layers of deep supervision, W window; (h, w) is the
stride-4 map, (H, W) pixels. Layers are a leading axis, never a list; there is no batch
axis, because videos differ in their number of tracks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Assignment(NamedTuple):
    """Pairs found by a matcher: row `query[m]` of the predictions is object `target[m]`."""

    query: Tensor  # (M,) int64
    target: Tensor  # (M,) int64


class FrameSizes(NamedTuple):
    """The three sizes of a video, (height, width) in pixels each."""

    padded: tuple[int, int]  # what the network saw; stride-4 maps are a quarter of it
    image: tuple[int, int]  # without the padding at the bottom and the right
    output: tuple[int, int]  # of the original video, which results are resized to


_DEEP = ("deep_logits", "deep_masks", "deep_embeds")


@dataclass(frozen=True)
class FrameOutputs:
    """What the segmenter S says of T frames (Q_Seg of Eq. 1). A frame is a clip of length one.

    Attributes:
        embeds: (T, Q, C) normalised object queries, the candidates.
        logits: (T, Q, K + 1) class logits, background last.
        masks: (T, Q, h, w) mask logits.
        mask_features: (T, D, h, w).
        initial_queries: (Q, C) the segmenter's learned queries, the same in all frames.
        query_positions: (Q, C) the learned positions of the queries, likewise; None without.
        raw_embeds: (T, Q, C) the queries before the last normalisation (DVIS++).
        reid: (T, Q, C) re-identification embeddings (CTVIS); None without that head.
        pixel_features: (T, E, h, w) what `mask_features` are made of; None unless the segmenter
            was told to hand it on (GenVIS).
        deep_logits: (L, T, Q, K + 1) class logits of several decoder layers, the final one
            last; None unless the segmenter is being trained, or hands several on (GenVIS).
        deep_masks: (L, T, Q, h, w) likewise.
        deep_embeds: (L, T, Q, C) likewise.
    """

    embeds: Tensor
    logits: Tensor
    masks: Tensor
    mask_features: Tensor
    initial_queries: Tensor
    query_positions: Tensor | None = None
    raw_embeds: Tensor | None = None
    reid: Tensor | None = None
    pixel_features: Tensor | None = None
    deep_logits: Tensor | None = None
    deep_masks: Tensor | None = None
    deep_embeds: Tensor | None = None

    def __post_init__(self) -> None:
        frames, queries = self.embeds.shape[:2]
        _check("logits", self.logits, (frames, queries, None))
        _check("masks", self.masks, (frames, queries, None, None))
        _check("mask_features", self.mask_features, (frames, None, *self.masks.shape[2:]))
        _check("initial_queries", self.initial_queries, (queries, None))

    def __len__(self) -> int:
        return self.embeds.shape[0]

    def __getitem__(self, frames: int | slice) -> FrameOutputs:
        """Frames `frames`; the result of an int has T = 1."""
        if isinstance(frames, int):
            frames = slice(frames, frames + 1) if frames != -1 else slice(-1, None)
        cut: dict[str, Any] = {name: value[frames] for name, value in self._by_frame().items()}
        for name in _DEEP:
            value = getattr(self, name)
            cut[name] = None if value is None else value[:, frames]
        return replace(self, **cut)

    def __iter__(self) -> Iterator[FrameOutputs]:
        return (self[t] for t in range(len(self)))

    @classmethod
    def cat(cls, pieces: list[FrameOutputs]) -> FrameOutputs:
        """Joins pieces of one video in time."""
        first = pieces[0]
        joined = {
            name: torch.cat([getattr(piece, name) for piece in pieces])
            for name in first._by_frame()
        }
        for name in _DEEP:
            if getattr(first, name) is not None:
                joined[name] = torch.cat([getattr(piece, name) for piece in pieces], dim=1)
        return replace(first, **joined)

    def detach(self) -> FrameOutputs:
        """The same values, cut from the graph: the trackers never train the segmenter."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: v.detach() for k, v in values.items() if v is not None})

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> FrameOutputs:
        """The same values elsewhere, or in another precision; stored outputs travel like images."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        moved = {k: v.to(device, dtype or v.dtype) for k, v in values.items() if v is not None}
        return replace(self, **moved)

    def at_least_float32(self) -> FrameOutputs:
        """The same values, half precision cast up."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        half = (torch.float16, torch.bfloat16)
        return replace(
            self, **{k: v.float() for k, v in values.items() if v is not None and v.dtype in half}
        )

    def predictions(self, frame: int) -> Predictions:
        """What the segmenter says of one frame as `Predictions` with N = Q and T = 1.

        All L layers where deep supervision is on, else the final layer alone.
        """
        logits = self.logits[None] if self.deep_logits is None else self.deep_logits
        masks = self.masks[None] if self.deep_masks is None else self.deep_masks
        return Predictions(logits[:, frame], masks[:, frame].unsqueeze(2))

    def layers(self) -> list[FrameOutputs]:
        """The same frames as each decoder layer saw them; the final one alone without others."""
        if self.deep_embeds is None or self.deep_logits is None or self.deep_masks is None:
            return [self]
        deep = zip(self.deep_embeds, self.deep_logits, self.deep_masks, strict=True)
        alone = replace(self, deep_embeds=None, deep_logits=None, deep_masks=None)
        return [replace(alone, embeds=e, logits=x, masks=m) for e, x, m in deep]

    def _by_frame(self) -> dict[str, Tensor]:
        names = (
            "embeds",
            "logits",
            "masks",
            "mask_features",
            "raw_embeds",
            "reid",
            "pixel_features",
        )
        return {n: getattr(self, n) for n in names if getattr(self, n) is not None}


@dataclass(frozen=True)
class MaskProducts:
    """Masks that are not made yet: dot products of embeddings with the features of T frames.

    Attributes:
        embeds: (L, N, D).
        features: (T, D, h, w).
        offset: (L, N), added to all pixels; None for nothing.
    """

    embeds: Tensor
    features: Tensor
    offset: Tensor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """L, N, T, h, w: what `dense` would have."""
        frames, _, *size = self.features.shape
        return (*self.embeds.shape[:2], frames, *size)

    def __getitem__(self, key: tuple[slice, Tensor | slice]) -> MaskProducts:
        """Some layers and rows."""
        offset = None if self.offset is None else self.offset[key]
        return MaskProducts(self.embeds[key], self.features, offset)

    def dense(self) -> Tensor:
        """(L, N, T, h, w) mask logits."""
        products = torch.einsum("lnd,tdhw->lnthw", self.embeds, self.features)
        if self.offset is not None:
            products += self.offset[..., None, None, None]
        return products


@dataclass(frozen=True)
class Predictions:
    """What a head D says of N queries, layer by layer.

    Attributes:
        logits: (L, N, K + 1) class logits, background last.
        source: (L, N, T, h, w) mask logits, or what they are made of. A training step looks at
            few rows of most layers: `final` and `rows` choose before `masks` makes them.
    """

    logits: Tensor
    source: Tensor | MaskProducts

    def __post_init__(self) -> None:
        _check("masks", self.source, (*self.logits.shape[:2], None, None, None))

    def __len__(self) -> int:
        return self.logits.shape[1]

    def __getitem__(self, key: tuple[slice, Tensor | slice]) -> Predictions:
        """Some layers and rows."""
        return Predictions(self.logits[key], self.source[key])

    @property
    def num_frames(self) -> int:
        return self.source.shape[2]

    @property
    def masks(self) -> Tensor:
        """(L, N, T, h, w) mask logits; products are computed with each call."""
        return self.source.dense() if isinstance(self.source, MaskProducts) else self.source

    @property
    def final(self) -> Predictions:
        """The last layer, still with its axis (L = 1)."""
        return self[-1:, :]

    def rows(self, rows: Tensor | slice) -> Predictions:
        """The queries `rows`, a bool mask (N,), an index (M,) or a slice."""
        return self[:, rows]

    def scores(self) -> Tensor:
        """(N,) score of the final layer: the best of the K real classes after softmax."""
        return foreground_score(self.logits[-1])


@dataclass(frozen=True)
class ClipTargets:
    """Ground truth of one clip: G objects over T frames. `targets[:, t0:t1]` cuts in time.

    Attributes:
        labels: (G,) int64 class index 0..K-1.
        masks: (G, T, H, W) bool, all False where an object is absent.
        ids: (G,) int64 the objects' ids in the annotation file.
    """

    labels: Tensor
    masks: Tensor
    ids: Tensor

    def __post_init__(self) -> None:
        objects = self.labels.shape[0]
        _check("masks", self.masks, (objects, None, None, None))
        _check("ids", self.ids, (objects,))

    def __len__(self) -> int:
        return self.labels.shape[0]

    def __getitem__(self, key: tuple[Tensor | slice, slice | int]) -> ClipTargets:
        objects, frames = key
        if isinstance(frames, int):
            frames = slice(frames, frames + 1)
        return ClipTargets(self.labels[objects], self.masks[objects][:, frames], self.ids[objects])

    @property
    def num_frames(self) -> int:
        return self.masks.shape[1]

    @property
    def visible(self) -> Tensor:
        """(G, T) bool, whether an object has a pixel in a frame."""
        return self.masks.flatten(2).any(-1)

    def to(self, device: torch.device | str) -> ClipTargets:
        return ClipTargets(self.labels.to(device), self.masks.to(device), self.ids.to(device))

    def pin_memory(self) -> ClipTargets:
        """Called by a DataLoader with `pin_memory=True`."""
        return ClipTargets(self.labels.pin_memory(), self.masks.pin_memory(), self.ids.pin_memory())


@dataclass(frozen=True)
class VideoPrediction:
    """What a model says of a video or a piece of it, one row a track.

    Attributes:
        ids: (N,) int64, never reused within a video.
        logits: (N, K + 1) class logits of the whole track (the mean over its frames).
        masks: (N, T, h, w) mask logits; -1e4 where a track has nothing to say.
        start: index of the first of the T frames in the video.
        scores: (N, K + 1) class scores 0..1 that are not the softmax of the logits (DVIS++
            offline); None where they are.
    """

    ids: Tensor
    logits: Tensor
    masks: Tensor
    start: int = 0
    scores: Tensor | None = None

    def __post_init__(self) -> None:
        tracks = self.ids.shape[0]
        _check("logits", self.logits, (tracks, None))
        _check("masks", self.masks, (tracks, None, None, None))
        if self.scores is not None:
            _check("scores", self.scores, tuple(self.logits.shape))

    def __len__(self) -> int:
        return self.ids.shape[0]

    def class_scores(self) -> Tensor:
        """(N, K + 1) in 0..1, background last."""
        return self.logits.softmax(-1) if self.scores is None else self.scores


def foreground_score(logits: Tensor) -> Tensor:
    """Best probability among the real classes.

    Args:
        logits: (..., K + 1), background last.

    Returns:
        (...) in 0..1; the softmax is taken over all K + 1.
    """
    return logits.softmax(-1)[..., :-1].amax(-1)


def _check(name: str, value: Tensor | MaskProducts, shape: tuple[int | None, ...]) -> None:
    """Raises ValueError unless `value` has the shape; None fits any size."""
    fits = len(value.shape) == len(shape) and all(
        want is None or want == have for want, have in zip(shape, value.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name} has shape {tuple(value.shape)}, expected {shape}")
