"""DVIS++ online: the referring tracker learns on a frozen segmenter, with noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from dvis_daq.structures import Assignment, ClipTargets, FrameOutputs, Predictions
from dvis_daq.tracker.referring import ReferringStep, ReferringTracker, raw_candidates
from dvis_daq.tracker.state import EndlessLife, advance
from dvis_daq.training.contrastive import (
    ContrastiveItem,
    contrastive_losses,
    pairs_before_last,
)
from dvis_daq.training.losses import LossWeights
from dvis_daq.training.matching import match_first_appearance
from dvis_daq.training.noise import QueryNoise
from dvis_daq.training.objectives.base import Clip, Parts, fit_targets, segment_clips
from dvis_daq.training.objectives.frame import image_losses
from dvis_daq.training.points import PointSampler


@dataclass(frozen=True)
class ReferringObjective:
    """Each object is one row in all frames of a clip, the row it has where it first appears.

    At first the segmenter's predictions, in the order of the rows, decide which row that is;
    later the tracker's own, each layer by itself (released: from half of the iterations on).
    An object that is absent from a frame keeps its class there and has an empty mask.

    Attributes:
        match_tracks_from: iteration from which the tracker's predictions are matched.
        noise: disturbs frames after the first; None aligns the rows in all.
        contrast_weight: of the contrastive loss on the references; 0 leaves it out.
        losses: weights.
        points: source of the points at which masks are compared.
    """

    match_tracks_from: int
    noise: QueryNoise | None = None
    contrast_weight: float = 2.0
    losses: LossWeights = field(default_factory=LossWeights)
    points: PointSampler = field(default_factory=PointSampler)
    trains: ClassVar[tuple[str, ...]] = ("tracker",)

    def __call__(self, model: Parts, clips: Sequence[Clip], iteration: int) -> dict[str, Tensor]:
        """Weighted losses by name; `_0` is the first tracker layer.

        Raises:
            FloatingPointError: a matching cost is not finite.
        """
        with torch.no_grad():
            segmented = segment_clips(model.segmenter, clips)
        images: list[tuple[Predictions, ClipTargets]] = []
        matches: list[list[Assignment]] = []
        references: list[Tensor] = []
        items: list[ContrastiveItem] = []
        for clip, frames in zip(clips, segmented, strict=True):
            targets = fit_targets(clip.targets, frames)
            steps = self.track(model.tracker, frames.detach())
            found = self.match(steps, frames, targets, iteration)
            images += [(step.tracked, targets[:, t]) for t, step in enumerate(steps)]
            matches += [found] * len(steps)
            references.append(torch.stack([step.references for step in steps]))
            items += reference_items(references[-1], pairs_before_last(found))
        losses = image_losses(images, weights=self.losses, points=self.points, matches=matches)
        if not self.contrast_weight:
            return losses.named()
        contrast = contrastive_losses(items, embeddings=references)
        return losses.named() | contrast.named(self.contrast_weight, 0.0)

    def track(self, tracker: ReferringTracker, frames: FrameOutputs) -> list[ReferringStep]:
        """The tracker's steps through T frames, with noise; gradient flows from frame to frame."""
        state, life, steps = tracker.start(), EndlessLife(), []
        for t, frame in enumerate(frames):
            start = None
            if t > 0 and self.noise is not None:
                start = self.noise(raw_candidates(frame)[0])
            step = tracker.step(state, frame, start=start)
            state, _ = advance(state, step, life.seen(state, step, frame), life.patience)
            steps.append(step)
        return steps

    def match(
        self,
        steps: Sequence[ReferringStep],
        frames: FrameOutputs,
        targets: ClipTargets,
        iteration: int,
    ) -> list[Assignment]:
        """Pairs of row and object for each layer of the tracker, the same in all T frames."""
        judged = [step.tracked for step in steps]
        if iteration < self.match_tracks_from:
            judged = [aligned(frames[t], step.candidates) for t, step in enumerate(steps)]
        found = match_first_appearance(judged, targets, weights=self.losses, points=self.points)
        return found * (len(steps[0].tracked.logits) // len(found))


def aligned(frame: FrameOutputs, order: Tensor) -> Predictions:
    """What the segmenter says of one frame, candidate `order[n]` in row n; L = T = 1."""
    return Predictions(frame.logits[:, order], frame.masks[:, order].transpose(0, 1)[None])


def reference_items(references: Tensor, pairs: Assignment) -> list[ContrastiveItem]:
    """An object asks alike in neighbouring frames, and unlike all other rows.

    Args:
        references: (T, Q, C).
        pairs: row and object; absent objects count like others.

    Returns:
        For each frame after the first and each pair an item with the frame before, and one
        with the frame after where there is one.
    """
    items = []
    for t in range(1, len(references)):
        for row in pairs.query.tolist():
            for neighbour in references[t - 1 : t + 2 : 2]:
                others = torch.cat([neighbour[:row], neighbour[row + 1 :]])
                items.append(ContrastiveItem(references[t, row], neighbour[row : row + 1], others))
    return items
