"""The offline part: whole tracks, seen from both ends of the video."""

from dvis_daq.refiner.refiner import TemporalRefiner

__all__ = ["TemporalRefiner"]
