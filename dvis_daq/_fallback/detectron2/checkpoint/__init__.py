"""Saving, loading and resuming."""

from fvcore.common.checkpoint import Checkpointer, PeriodicCheckpointer

from detectron2._subset import absent_names
from detectron2.checkpoint.detection_checkpoint import DetectionCheckpointer

__all__ = ["Checkpointer", "DetectionCheckpointer", "PeriodicCheckpointer"]

__getattr__ = absent_names(__name__)
