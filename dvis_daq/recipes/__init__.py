"""Recipes: the only place that knows every part. Importing it registers the methods.

A method is a short function in `methods`; what it picks is built in `parts` (modules) and
`rules` (everything else).
"""

from dvis_daq.recipes.methods import (
    CTVIS,
    DVIS_DAQ_offline,
    DVIS_DAQ_online,
    DVIS_offline,
    DVIS_online,
    DVIS_static_online,
    GenVIS,
    GenVIS_DAQ,
    MinVIS,
)
from dvis_daq.recipes.parts import build_daq_tracker, build_segmenter
from dvis_daq.recipes.rules import lifecycle

__all__ = [
    "CTVIS",
    "DVIS_DAQ_offline",
    "DVIS_DAQ_online",
    "DVIS_offline",
    "DVIS_online",
    "DVIS_static_online",
    "GenVIS",
    "GenVIS_DAQ",
    "MinVIS",
    "build_daq_tracker",
    "build_segmenter",
    "lifecycle",
]
