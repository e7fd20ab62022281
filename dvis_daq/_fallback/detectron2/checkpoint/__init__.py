"""Saving, loading and resuming."""

from detectron2._subset import absent_names
from detectron2.checkpoint.detection_checkpoint import (
    Checkpointer,
    DetectionCheckpointer,
    PeriodicCheckpointer,
)

__all__ = ["Checkpointer", "DetectionCheckpointer", "PeriodicCheckpointer"]

__getattr__ = absent_names(__name__)
