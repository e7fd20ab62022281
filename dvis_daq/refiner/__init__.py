"""The offline part: whole tracks, seen from both ends of the video."""

from dvis_daq.refiner.refiner import TemporalRefiner, larger_scores
from dvis_daq.refiner.sequences import (
    SequenceBank,
    SequenceFrame,
    SequenceRules,
    TemporalPadding,
    TrackSequences,
    appearance_padding,
    zero_padding,
)

__all__ = [
    "SequenceBank",
    "SequenceFrame",
    "SequenceRules",
    "TemporalPadding",
    "TemporalRefiner",
    "TrackSequences",
    "appearance_padding",
    "larger_scores",
    "zero_padding",
]
