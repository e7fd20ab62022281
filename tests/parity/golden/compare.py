"""Tolerances of the reference data, and the verdict on one array."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Decisions may differ by this much in float32, in pixels of a file (reference README).
PACKED_PIXELS = 20
AREA_PIXELS = 2

# In float64, absolute and relative. What a correct build keeps of the segmenter and of single
# parts is far below, and a wrong epsilon of a norm would hide behind the tolerance for whole
# models (reference README, "How to use" 2). First prefix that fits; {case: {prefix of array: ...}}
FLOAT64 = 1e-4
CLOSER = {
    "segmenter": {
        "input": 2e-7, "res": 2e-7, "mask_features": 2e-6, "multi_scale": 2e-6,
        "pred_masks": 1e-5, "pred": 5e-6, "aux_logits": 5e-6,
    },
    "units": {"": 1e-5},
    "post_processing": {"": 1e-5},
}  # fmt: skip


class Verdict(NamedTuple):
    array: str
    difference: str  # largest absolute difference, or how many entries differ
    ok: bool


def float64_tolerance(case: str, array: str) -> float:
    """Allowed difference, absolute and relative, of a case computed in float64."""
    for beginning, tolerances in CLOSER.items():
        if case.startswith(beginning):
            return next(
                (value for prefix, value in tolerances.items() if array.startswith(prefix)), FLOAT64
            )
    return FLOAT64


def compare(
    name: str, ours: np.ndarray | None, golden: np.ndarray, *, tolerance: float | None = None
) -> Verdict:
    """Holds one array to the recorded one.

    Args:
        name: decides the tolerance: `*_packed`, `*_mask_area`, masks and gradients have their own.
        ours: None when we do not produce it; `golden` itself where it is what we start from.
        golden: recorded.
        tolerance: of floats that were computed in float64, absolute and relative; decisions, also
            those that masks take at 0, must then be equal. None: computed in float32.
    """
    if ours is golden:
        return Verdict(name, "input", ok=True)
    if ours is None:
        return Verdict(name, "not produced", ok=False)
    ours = np.asarray(ours)
    if ours.shape != golden.shape:
        return Verdict(name, f"shape {ours.shape}, recorded {golden.shape}", ok=False)
    if golden.dtype.kind in "US":
        return Verdict(name, "names", ok=bool((ours == golden).all()))
    if golden.dtype.kind in "iub":
        return _decisions(name, ours, golden, double=tolerance is not None)
    return _floats(name, ours.astype(np.float64), golden.astype(np.float64), tolerance)


def _decisions(name: str, ours: np.ndarray, golden: np.ndarray, *, double: bool) -> Verdict:
    if name.endswith("_packed"):
        wrong = int(np.unpackbits(ours ^ golden).sum())
        return Verdict(name, f"{wrong} pixels differ", wrong <= (0 if double else PACKED_PIXELS))
    if name.endswith(("panoptic", "semantic")):
        wrong = int((ours != golden).sum())
        return Verdict(name, f"{wrong} pixels differ", wrong <= (0 if double else PACKED_PIXELS))
    largest = int(np.abs(ours.astype(np.int64) - golden.astype(np.int64)).max(initial=0))
    allowed = AREA_PIXELS if name.endswith("_mask_area") and not double else 0
    return Verdict(name, str(largest), largest <= allowed)


def _floats(name: str, ours: np.ndarray, golden: np.ndarray, tolerance: float | None) -> Verdict:
    difference = np.abs(ours - golden)
    if tolerance is not None:
        allowed = tolerance + tolerance * np.abs(golden)
    elif name.startswith("grad"):
        allowed = 0.01 * np.abs(golden).max(initial=0) + np.zeros_like(golden)
    else:
        allowed = (5e-3 if "masks" in name else 1e-3) + 1e-3 * np.abs(golden)
    ok = bool((difference <= allowed).all())  # False for NaN
    flipped = 0
    if tolerance is not None and "masks" in name:
        flipped = int(((ours > 0) != (golden > 0)).sum())
    text = f"{difference.max(initial=0):.1e}" + (f", {flipped} pixels differ" if flipped else "")
    return Verdict(name, text, ok and not flipped)
