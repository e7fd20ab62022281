"""DVIS-DAQ: video segmentation with dynamic anchor queries.

Importing the package makes `detectron2` importable: the installed one, or the bundled subset.
"""

from dvis_daq import environment
from dvis_daq.version import __version__

__all__ = ["DETECTRON2", "__version__"]

DETECTRON2 = environment.prepare()  # which one it is
