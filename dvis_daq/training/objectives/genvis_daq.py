"""GenVIS with dynamic anchors: the losses of GenVIS on the rows and the events of DVIS-DAQ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dvis_daq.structures import Assignment
from dvis_daq.training.losses import set_loss
from dvis_daq.training.objectives.base import Clip, Parts, fit_targets, segment_clips
from dvis_daq.training.objectives.daq import DAQObjective, TaughtFrame
from dvis_daq.training.similarity import similarity_item, similarity_loss


@dataclass(frozen=True)
class GenVISDAQObjective(DAQObjective):
    """Each frame of a clip has a full set of losses, as in GenVIS; pairs and simulation are DAQ's.

    As in GenVIS, frame queries of several decoder layers of the segmenter are tracked, each
    layer's by themselves.

    Attributes:
        similarity_weight: of the similarity loss.
    """

    similarity_weight: float = 0.5

    def __call__(self, model: Parts, clips: Sequence[Clip], iteration: int) -> dict[str, Tensor]:
        """Weighted losses by name, `_clip0` those of the first frame, `slot_` those of tracker 2.

        Raises:
            FloatingPointError: a matching cost is not finite.
            ValueError: a clip of one frame, in which tracker 2 has nothing to learn.
        """
        stage, clips = self.begin(clips, iteration)
        with torch.no_grad():
            segmented = segment_clips(model.segmenter, clips)
        taught: list[list[TaughtFrame]] = []  # of each clip and layer, its frames
        for clip, frames in zip(clips, segmented, strict=True):
            targets = fit_targets(clip.targets, frames)
            for layer in frames.detach().layers():
                taught.append(list(self.track(model.tracker, layer, targets, stage)))
        losses: dict[str, Tensor] = {}
        for t, of_frame in enumerate(zip(*taught, strict=True)):
            found = self.frame_losses(of_frame)
            losses |= {f"{name}_clip{t}": value for name, value in found.items()}
        return losses

    def frame_losses(self, taught: Sequence[TaughtFrame]) -> dict[str, Tensor]:
        """All losses of one frame of several clips and segmenter layers."""
        how = {"weights": self.losses, "points": self.points}
        losses = set_loss([said.tracked for said in taught], **how)
        items = [similarity_item(said.step, _shown(said), [said.candidates]) for said in taught]
        losses["loss_sim"] = self.similarity_weight * similarity_loss(items)
        gone = [said.disappearing for said in taught if said.disappearing is not None]
        return losses | (set_loss(gone, **how, prefix="slot_") if gone else {})


def _shown(said: TaughtFrame) -> Assignment:
    """The rows whose object can be seen."""
    seen = said.visible[said.pairs.target]
    return Assignment(said.pairs.query[seen], said.pairs.target[seen])
