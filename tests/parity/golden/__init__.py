"""Runs our model on the recorded cases of the released system and compares every array.

`python -m tests.parity.golden FOLDER` takes any folder with `golden/cases.json`,
`golden_weights.py` and `configs/`; the tests run the same cases one by one.
"""

import dvis_daq  # noqa: F401  makes detectron2 importable
