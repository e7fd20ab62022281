"""The offline part: whole tracks, seen from both ends of the video."""

from dvis_daq.refiner.refiner import TemporalRefiner
from dvis_daq.refiner.sequences import (
    SequenceBank,
    TrackSequences,
    appearance_padding,
    zero_padding,
)

__all__ = [
    "SequenceBank",
    "TemporalRefiner",
    "TrackSequences",
    "appearance_padding",
    "zero_padding",
]
