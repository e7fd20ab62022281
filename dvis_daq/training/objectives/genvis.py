"""GenVIS: the clip module learns on a frozen segmenter, clip after clip of a video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from dvis_daq.structures import Assignment, ClipTargets, FrameOutputs, Predictions
from dvis_daq.tracker.genvis import GenVISTracker
from dvis_daq.tracker.state import EndlessLife, advance
from dvis_daq.training.clip_labels import assign_rows, no_rows, pairs_of
from dvis_daq.training.losses import (
    LayerLosses,
    LossWeights,
    Supervision,
    layer_losses,
    supervise,
)
from dvis_daq.training.matching import match_frames
from dvis_daq.training.objectives.base import Clip, Parts, fit_targets, segment_clips
from dvis_daq.training.points import PointSampler
from dvis_daq.training.similarity import SimilarityItem, similarity_item, similarity_loss


class TaughtClip(NamedTuple):
    """What the tracker said of a clip and should have said."""

    layers: list[Supervision]  # one for each decoder layer, L = 1 in each
    similarity: SimilarityItem
    held: Tensor  # (L, G) int64 row of each object in each decoder layer


@dataclass(frozen=True)
class GenVISObjective:
    """Each clip of a video has a full set of losses; what it hands on carries their gradient.

    Frame queries of several decoder layers of the segmenter are tracked, each layer's by
    themselves. An object that cannot be seen in a clip is background there.

    Attributes:
        clip_frames: frames a clip; the last one of a video may have fewer.
        similarity_weight: of the similarity loss.
        losses: weights.
        points: source of the points at which masks are compared.
    """

    clip_frames: int = 1
    similarity_weight: float = 0.5
    losses: LossWeights = field(default_factory=LossWeights)
    points: PointSampler = field(default_factory=PointSampler)
    trains: ClassVar[tuple[str, ...]] = ("tracker",)

    def __call__(self, model: Parts, clips: Sequence[Clip], iteration: int) -> dict[str, Tensor]:
        """Weighted losses by name, `_clip0` those of the first clip.

        Raises:
            FloatingPointError: a matching cost is not finite.
            ValueError: a video of one clip, in which nothing is handed on.
        """
        if min(clip.targets.num_frames for clip in clips) <= self.clip_frames:
            raise ValueError(
                f"training videos must have more than one clip of {self.clip_frames} frames: "
                "see INPUT.CLIP.FRAMES and MODEL.GENVIS.CLIP_FRAMES"
            )
        with torch.no_grad():
            segmented = segment_clips(model.segmenter, clips)
        taught: list[list[TaughtClip]] = []  # of each video and layer, its clips
        for clip, frames in zip(clips, segmented, strict=True):
            targets = fit_targets(clip.targets, frames)
            for layer in frames.detach().layers():
                found = match_frames(layer, targets, weights=self.losses, points=self.points)
                matches = [match.assignment for match in found]
                taught.append(list(self.track(model.tracker, layer, targets, matches)))
        losses: dict[str, Tensor] = {}
        for number, of_clip in enumerate(zip(*taught, strict=True)):
            losses |= self.clip_losses(of_clip, suffix=f"_clip{number}")
        return losses

    def track(
        self,
        tracker: GenVISTracker,
        frames: FrameOutputs,
        targets: ClipTargets,
        matches: Sequence[Assignment],
    ) -> Iterator[TaughtClip]:
        """Drives the tracker through a video and teaches it, clip by clip.

        Args:
            tracker: with a fixed number of rows.
            frames: T frames, without gradient.
            targets: G objects over the T frames, masks padded like the frames.
            matches: the segmenter's candidates and their objects, for each frame.
        """
        visible = targets.visible.cpu()
        earlier = torch.zeros(len(targets), dtype=torch.bool)
        state, life, held = tracker.start(), EndlessLife(), None
        for start in range(0, len(frames), self.clip_frames):
            piece = slice(start, start + self.clip_frames)
            clip, here = frames[piece], targets[:, piece]
            step = tracker.step(state, clip)
            valid = visible[:, piece].any(1)
            held = assign_rows(
                no_rows(len(step.tracked.logits), len(targets)) if held is None else held,
                step.tracked,
                here,
                valid=valid,
                new=valid & ~earlier,
                weights=self.losses,
                points=self.points,
                where=f"the clip from frame {start}",
            )
            earlier |= valid
            final = pairs_of(held[-1])
            shown = Assignment(*(index[valid[final.target]] for index in final))
            yield TaughtClip(
                layers=_supervisions(step.tracked, here, held, valid),
                similarity=similarity_item(step, shown, matches[piece]),
                held=held,
            )
            state, _ = advance(state, step, life.seen(state, step, clip), life.patience)

    def clip_losses(self, taught: Sequence[TaughtClip], suffix: str) -> dict[str, Tensor]:
        """All losses of one clip of several videos and segmenter layers."""
        layers = [
            layer_losses(items, weights=self.losses, points=self.points)
            for items in zip(*(said.layers for said in taught), strict=True)
        ]
        named = LayerLosses(*(torch.cat(values) for values in zip(*layers, strict=True))).named()
        similarity = similarity_loss([said.similarity for said in taught])
        named["loss_sim"] = self.similarity_weight * similarity
        return {name + suffix: value for name, value in named.items()}


def _supervisions(
    said: Predictions, targets: ClipTargets, held: Tensor, valid: Tensor
) -> list[Supervision]:
    """For each decoder layer, by its own rows."""
    count = int(valid.sum())
    return [
        supervise(
            said[layer : layer + 1, :],
            targets,
            pairs_of(rows),
            positive=valid,
            count=count,
            each_frame=True,
        )
        for layer, rows in enumerate(held)
    ]
