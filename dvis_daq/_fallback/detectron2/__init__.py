"""A small stand-in for Detectron2, used where the real library is not installed.

It holds only what `dvis_daq` needs, behind the public names and with the behaviour of the real
library (commit 02b5c4e2), written from a description of that behaviour on top of fvcore, iopath and
PyTorch. Anything else says so and asks for the real one.
"""

import sys

from detectron2._subset import AbsentModuleFinder, absent_names

__version__ = "0.6+lite"
__lite__ = True

__getattr__ = absent_names(__name__)

if not any(isinstance(finder, AbsentModuleFinder) for finder in sys.meta_path):
    sys.meta_path.append(AbsentModuleFinder())
