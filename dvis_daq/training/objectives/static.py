"""Static anchors with standard cross-attention, trained as DVIS-DAQ is (baseline of Tab. 3a)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from dvis_daq.structures import Assignment, ClipTargets, FrameOutputs
from dvis_daq.tracker.state import EndlessLife, advance
from dvis_daq.tracker.static import StaticTracker
from dvis_daq.training.losses import LossWeights, Supervision, set_loss, supervise
from dvis_daq.training.matching import match_new
from dvis_daq.training.objectives.base import (
    NO_PAIRS,
    Clip,
    Parts,
    fit_targets,
    segment_clips,
)
from dvis_daq.training.points import PointSampler
from dvis_daq.training.simulation import Choice, Stage, emergence_survivors, stage_at


@dataclass(frozen=True)
class StaticObjective:
    """History is kept; a new object is matched to the rows that never had one.

    An object that cannot be seen is background. With emergence simulation (`drop` or `score`
    of a stage) a dropped row goes on without its object, which is new again and needs a free
    row.

    Attributes:
        losses: weights.
        points: source of the points at which masks are compared.
        stages: schedule; their rules of disappearance mean nothing here.
        choice: picks the piece of a clip.
    """

    losses: LossWeights = field(default_factory=LossWeights)
    points: PointSampler = field(default_factory=PointSampler)
    stages: Sequence[Stage] = (Stage(),)
    choice: Choice = field(default_factory=Choice)
    trains: ClassVar[tuple[str, ...]] = ("tracker",)

    def __call__(self, model: Parts, clips: Sequence[Clip], iteration: int) -> dict[str, Tensor]:
        """Weighted losses by name.

        Raises:
            FloatingPointError: a matching cost is not finite.
        """
        stage = stage_at(self.stages, iteration)
        clips = [clip.cut(stage.piece(clip.targets.num_frames, self.choice)) for clip in clips]
        with torch.no_grad():
            segmented = segment_clips(model.segmenter, clips)
        said: list[Supervision] = []
        for clip, frames in zip(clips, segmented, strict=True):
            targets = fit_targets(clip.targets, frames)
            said += self.track(model.tracker, frames.detach(), targets, stage)
        return set_loss(said, weights=self.losses, points=self.points)

    def track(
        self, tracker: StaticTracker, frames: FrameOutputs, targets: ClipTargets, stage: Stage
    ) -> Iterator[Supervision]:
        """Drives the tracker through a clip and teaches it, frame by frame.

        Args:
            tracker: with static anchors.
            frames: T frames, without gradient.
            targets: G objects over the T frames, masks padded like the frames.
            stage: whether rows are dropped.

        Yields:
            What it said of a frame, and should have said.
        """
        visible = targets.visible.T.cpu()
        state, life, pairs = tracker.start(), EndlessLife(), NO_PAIRS
        free = torch.ones(frames.embeds.shape[1], dtype=torch.bool)
        for t, frame in enumerate(frames):
            step = tracker.step(state, frame)
            # On the first frame the segmenter says which row is which object, as in DVIS-DAQ.
            judged = frames.predictions(0) if t == 0 else step.tracked
            wanted = visible[t].clone()
            wanted[pairs.target] = False
            rows = free.nonzero().squeeze(1)
            new = match_new(
                judged.rows(rows.to(frame.embeds.device)),
                targets[:, t],
                NO_PAIRS,
                visible=wanted,
                num_new=len(rows),
                weights=self.losses,
                points=self.points,
                where=f"frame {t}",
            )
            pairs = Assignment(
                torch.cat([pairs.query, rows[new.query]]), torch.cat([pairs.target, new.target])
            )
            free[pairs.query] = False
            yield supervise(step.tracked, targets[:, t], pairs, positive=visible[t])
            kept = emergence_survivors(step.tracked.scores(), pairs, stage).cpu()[pairs.query]
            pairs = Assignment(pairs.query[kept], pairs.target[kept])
            state, _ = advance(state, step, life.seen(state, step, frame), life.patience)
