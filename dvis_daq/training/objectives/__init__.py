"""Objectives: what a method learns from a batch of clips, one file each.

An objective is called as `objective(model, clips, iteration)` and returns the weighted losses
by name; their sum is what is minimised. `objective.trains` names the parts of the model that
learn; the model freezes the others.
"""

from dvis_daq.training.objectives.base import Clip, Objective
from dvis_daq.training.objectives.contrastive import ContrastiveObjective
from dvis_daq.training.objectives.daq import DAQObjective
from dvis_daq.training.objectives.frame import FrameObjective
from dvis_daq.training.objectives.genvis import GenVISObjective
from dvis_daq.training.objectives.genvis_daq import GenVISDAQObjective
from dvis_daq.training.objectives.referring import ReferringObjective
from dvis_daq.training.objectives.refiner import RefinerObjective
from dvis_daq.training.objectives.static import StaticObjective

__all__ = [
    "Clip",
    "ContrastiveObjective",
    "DAQObjective",
    "FrameObjective",
    "GenVISDAQObjective",
    "GenVISObjective",
    "Objective",
    "ReferringObjective",
    "RefinerObjective",
    "StaticObjective",
]
