"""Synthetic video with exact ground truth: sprites that enter, leave, hide and come back.

The embedded default data set of the quick start and of the tests. `docs/synthetic.md` is the
written recipe; the same `Recipe` gives the same bytes.
"""

from dvis_daq.data.synthetic.recipe import FORMATS, SPLITS, Recipe
from dvis_daq.data.synthetic.render import SyntheticVideo, make_video
from dvis_daq.data.synthetic.sprites import CLASSES
from dvis_daq.data.synthetic.writer import RecipeMismatchError, write_dataset

__all__ = [
    "CLASSES",
    "FORMATS",
    "SPLITS",
    "Recipe",
    "RecipeMismatchError",
    "SyntheticVideo",
    "make_video",
    "write_dataset",
]
