"""DVIS-DAQ online: the tracker learns on a frozen segmenter, with simulated events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from dvis_daq.structures import Assignment, ClipTargets, FrameOutputs
from dvis_daq.tracker.daq import DAQTracker
from dvis_daq.tracker.genvis_daq import GenVISDAQTracker
from dvis_daq.tracker.state import TrackerStep, advance
from dvis_daq.training.losses import LossWeights, Supervision, set_loss, supervise
from dvis_daq.training.matching import FrameMatch, match_frames, match_new
from dvis_daq.training.objectives.base import (
    NO_PAIRS,
    Clip,
    Parts,
    fit_targets,
    segment_clips,
)
from dvis_daq.training.points import PointSampler
from dvis_daq.training.simulation import (
    RELEASED_STAGES,
    Choice,
    Disappearance,
    Stage,
    emergence_survivors,
    hidden_candidates,
    only_frame,
    stage_at,
)


class TaughtFrame(NamedTuple):
    """What was said of a frame, and what should have been said."""

    tracked: Supervision
    disappearing: Supervision | None
    step: TrackerStep
    pairs: Assignment  # rows and their objects, whether these can be seen or not
    visible: Tensor  # (G,) bool on the CPU
    candidates: Assignment  # the segmenter's, and the visible objects


@dataclass(frozen=True)
class DAQObjective:
    """Eq. 6 over a clip, with history kept and events simulated (Sec. 3.3 and 3.4).

    Tracker 1 says in each frame what every row shows; tracker 2 says of the rows that were
    tracked before whether they are still there. An object that cannot be seen is background.

    Attributes:
        losses: weights, the same for both trackers and all layers.
        points: source of the points at which masks are compared.
        stages: schedule of the simulation.
        candidate_score: 0..1, a candidate that scores above it counts as evidence of the
            object it resembles, and is hidden with it.
        aliased_disappearance: the released rule by which tracker 1, too, is told that the
            object of a simulated disappearance is gone, in frames in which another one really
            is. It sees the object's candidates, so the paper's rule is the default.
        choice: picks the piece of a clip and the object that disappears.
    """

    losses: LossWeights = field(default_factory=LossWeights)
    points: PointSampler = field(default_factory=PointSampler)
    stages: Sequence[Stage] = RELEASED_STAGES
    candidate_score: float = 0.01
    aliased_disappearance: bool = False
    choice: Choice = field(default_factory=Choice)
    trains: ClassVar[tuple[str, ...]] = ("tracker",)

    def __call__(self, model: Parts, clips: Sequence[Clip], iteration: int) -> dict[str, Tensor]:
        """Weighted losses by name; those of tracker 2 begin with `slot_`.

        Raises:
            FloatingPointError: a matching cost is not finite.
            ValueError: a clip of one frame, in which tracker 2 has nothing to learn.
        """
        stage, clips = self.begin(clips, iteration)
        with torch.no_grad():
            segmented = segment_clips(model.segmenter, clips)
        tracked: list[Supervision] = []
        disappearing: list[Supervision] = []
        for clip, frames in zip(clips, segmented, strict=True):
            targets = fit_targets(clip.targets, frames)
            for said in self.track(model.tracker, frames.detach(), targets, stage):
                tracked.append(said.tracked)
                disappearing += [] if said.disappearing is None else [said.disappearing]
        how = {"weights": self.losses, "points": self.points}
        losses = set_loss(tracked, **how)
        if model.tracker.disappearance is None:
            return losses
        return losses | set_loss(disappearing, **how, prefix="slot_")

    def begin(self, clips: Sequence[Clip], iteration: int) -> tuple[Stage, list[Clip]]:
        """The stage of an iteration, and the pieces of the clips that it uses.

        Raises:
            ValueError: a clip of one frame, in which tracker 2 has nothing to learn.
        """
        stage = stage_at(self.stages, iteration)
        clips = [clip.cut(stage.piece(clip.targets.num_frames, self.choice)) for clip in clips]
        if min(clip.targets.num_frames for clip in clips) < 2:
            raise ValueError(
                "a clip has 1 frame, a tracker needs at least 2: see INPUT.CLIP.FRAMES"
            )
        return stage, clips

    def track(
        self,
        tracker: DAQTracker | GenVISDAQTracker,
        frames: FrameOutputs,
        targets: ClipTargets,
        stage: Stage,
    ) -> Iterator[TaughtFrame]:
        """Drives the tracker through a clip and teaches it, frame by frame.

        Args:
            tracker: the pair of trackers; on a first frame its row n stands for candidate n.
            frames: T frames, without gradient.
            targets: G objects over the T frames, masks padded like the frames.
            stage: the rules of simulation.

        Yields:
            What trackers 1 and 2 said of a frame and should have said; tracker 2 is silent
            on the first.
        """
        how = {"weights": self.losses, "points": self.points}
        matches = match_frames(frames, targets, candidate_score=self.candidate_score, **how)
        visible = targets.visible.T.cpu()
        state, kept, hidden = tracker.start(), NO_PAIRS, None
        only = only_frame(stage, len(frames), self.choice)
        for t, frame in enumerate(frames):
            hides = stage if only in (None, t) else Stage()
            hidden = hidden_candidates(
                matches[t].resembles, kept, hides, self.choice, earlier=hidden
            )
            step = tracker.step(state, frame, _candidates(hidden, frame))
            here, pairs = targets[:, t], matches[0].assignment
            if t > 0:
                pairs = match_new(
                    step.tracked,
                    here,
                    kept,
                    visible=visible[t],
                    num_new=len(step.tracked) - step.num_tracked,
                    where=f"frame {t}",
                    **how,
                )
            gone = _really_gone(kept, matches[t], len(targets))
            shown_1, shown_2 = self._shown(visible[t], gone, hidden)
            said_1 = supervise(step.tracked, here, pairs, positive=shown_1)
            said_2 = None
            if step.disappearing is not None:
                said_2 = supervise(step.disappearing, here, kept, positive=shown_2)
            yield TaughtFrame(
                tracked=said_1,
                disappearing=said_2,
                step=step,
                pairs=pairs,
                visible=visible[t],
                candidates=matches[t].assignment,
            )
            seen = emergence_survivors(step.tracked.scores(), pairs, stage)
            state, rows = advance(state, step, seen, patience=1)
            kept = follow(pairs, rows.cpu())

    def _shown(
        self, visible: Tensor, gone: Tensor, hidden: Disappearance | None
    ) -> tuple[Tensor, Tensor]:
        """(G,) bool each, the objects that tracker 1 and tracker 2 should see in a frame."""
        shown_1 = visible & ~gone
        shown_2 = shown_1.clone()
        if hidden is not None:
            shown_2[hidden.target] = False
        if self.aliased_disappearance and gone.any():
            shown_1 = shown_2
        return shown_1, shown_2


def follow(pairs: Assignment, rows: Tensor) -> Assignment:
    """The pairs of the rows that live on, in the order of the rows.

    Args:
        pairs: rows of a step and their objects.
        rows: (N,) int64 rows of the step that are tracked on, as from `advance`, on the CPU.
    """
    where, which = (rows[:, None] == pairs.query).nonzero().unbind(1)
    return Assignment(where, pairs.target[which])


def _candidates(hidden: Disappearance | None, frame: FrameOutputs) -> Tensor | None:
    return None if hidden is None else hidden.candidates.to(frame.embeds.device)


def _really_gone(kept: Assignment, match: FrameMatch, objects: int) -> Tensor:
    """(G,) bool, tracked objects that no candidate of the frame is matched with."""
    gone = torch.zeros(objects, dtype=torch.bool)
    gone[kept.target] = True
    gone[match.assignment.target] = False
    return gone
