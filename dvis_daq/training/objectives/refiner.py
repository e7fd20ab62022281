"""Offline: the refiner learns on the tracks of a frozen online model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from dvis_daq.refiner import SequenceBank, SequenceRules, TemporalRefiner, TrackSequences
from dvis_daq.structures import Assignment, ClipTargets, FrameOutputs, Predictions
from dvis_daq.tracker.loop import LifeRule, Tracker, track
from dvis_daq.training.class_memory import TrackContrast, TrackEmbeddings
from dvis_daq.training.contrastive import pairs_before_last
from dvis_daq.training.losses import LossWeights
from dvis_daq.training.matching import match_clip
from dvis_daq.training.objectives.base import Clip, Parts, fit_targets, segment_clips
from dvis_daq.training.objectives.frame import image_losses
from dvis_daq.training.points import PointSampler


class OfflineParts(Parts):
    """A model with a refiner."""

    refiner: TemporalRefiner


@dataclass(frozen=True)
class RefinerObjective:
    """Refined tracks against the objects of a clip; the frames count as one tall image.

    At first the online predictions decide which track answers for which object, later the
    refined ones, each layer by itself (released: from half of the iterations on).

    Attributes:
        life: life cycle of the tracks in a training clip.
        match_refined_from: iteration from which the refined predictions are matched.
        sequences: how tracks become what the refiner reads, as at inference.
        contrast: contrastive loss on the refined tracks (DVIS++); None for none.
        losses: weights.
        points: source of the points at which masks are compared.
    """

    life: LifeRule
    match_refined_from: int
    sequences: SequenceRules
    contrast: TrackContrast | None = None
    losses: LossWeights = field(default_factory=LossWeights)
    points: PointSampler = field(default_factory=PointSampler)
    trains: ClassVar[tuple[str, ...]] = ("refiner",)

    def __call__(
        self, model: OfflineParts, clips: Sequence[Clip], iteration: int
    ) -> dict[str, Tensor]:
        """Weighted losses by name; `_0` is the first refiner layer.

        Raises:
            FloatingPointError: a matching cost is not finite.
        """
        with torch.no_grad():
            segmented = segment_clips(model.segmenter, clips)
        pairs: list[tuple[Predictions, ClipTargets]] = []
        matches: list[list[Assignment]] = []
        embedded: list[TrackEmbeddings] = []
        for clip, frames in zip(clips, segmented, strict=True):
            targets = fit_targets(clip.targets, frames)
            tracks = self.tracks(model.tracker, frames)
            read = self.sequences.candidates(frames)
            refined = model.refiner(tracks.queries.transpose(0, 1), read, tracks.padded.T)
            predictions = model.refiner.predict(refined, frames.mask_features)
            pairs.append((predictions, targets))
            judged = predictions
            if iteration < self.match_refined_from:
                judged = Predictions(tracks.logits[None], tracks.masks[None])
            found = match_clip(judged, targets, weights=self.losses, points=self.points)
            matches.append(found * (len(refined) // len(found)))
            embeds = model.refiner.head.norm(refined[-1])  # (T, N, C)
            embedded.append(TrackEmbeddings(embeds, pairs_before_last(matches[-1]), targets.labels))
        losses = image_losses(pairs, weights=self.losses, points=self.points, matches=matches)
        if self.contrast is None:
            return losses.named()
        return losses.named() | self.contrast(embedded)

    def state_dict(self) -> dict[int, Tensor]:
        """The memory of the contrastive loss, for a training that is resumed."""
        return {} if self.contrast is None else self.contrast.memory.state_dict()

    def load_state_dict(self, state: dict[int, Tensor]) -> None:
        if self.contrast is not None:
            self.contrast.memory.load_state_dict(state)

    @torch.no_grad()
    def tracks(self, tracker: Tracker, frames: FrameOutputs) -> TrackSequences:
        """The tracks of a clip, with the masks of the online model."""
        bank = SequenceBank(self.sequences, keep_masks=True)
        for done in track(tracker, self.life, frames):
            bank.add(done.state, done.step, done.rows, done.frame)
        return bank.sequences()
