"""Tolerances of the reference data, and the verdict on one array."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Decisions may differ by this much in float32, in pixels of a file (reference README).
PACKED_PIXELS = 20
AREA_PIXELS = 2


class Verdict(NamedTuple):
    array: str
    difference: str  # largest absolute difference, or how many entries differ
    ok: bool


def compare(name: str, ours: np.ndarray | None, golden: np.ndarray, *, double: bool) -> Verdict:
    """Holds one array to the recorded one.

    Args:
        name: decides the tolerance: `*_packed`, `*_mask_area`, masks and gradients have their own.
        ours: None when we do not produce it.
        golden: recorded.
        double: whether ours was computed in float64.
    """
    if ours is None:
        return Verdict(name, "not produced", ok=False)
    ours = np.asarray(ours)
    if ours.shape != golden.shape:
        return Verdict(name, f"shape {ours.shape}, recorded {golden.shape}", ok=False)
    if golden.dtype.kind in "US":
        return Verdict(name, "names", ok=bool((ours == golden).all()))
    if golden.dtype.kind in "iub":
        return _decisions(name, ours, golden, double=double)
    return _floats(name, ours.astype(np.float64), golden.astype(np.float64), double=double)


def _decisions(name: str, ours: np.ndarray, golden: np.ndarray, *, double: bool) -> Verdict:
    if name.endswith("_packed"):
        wrong = int(np.unpackbits(ours ^ golden).sum())
        return Verdict(name, f"{wrong} pixels differ", wrong <= (0 if double else PACKED_PIXELS))
    if name in ("panoptic", "semantic"):
        wrong = int((ours != golden).sum())
        return Verdict(name, f"{wrong} pixels differ", wrong <= (0 if double else PACKED_PIXELS))
    largest = int(np.abs(ours.astype(np.int64) - golden.astype(np.int64)).max(initial=0))
    allowed = AREA_PIXELS if name.endswith("_mask_area") and not double else 0
    return Verdict(name, str(largest), largest <= allowed)


def _floats(name: str, ours: np.ndarray, golden: np.ndarray, *, double: bool) -> Verdict:
    difference = np.abs(ours - golden)
    if double:
        allowed = 1e-4 + 1e-4 * np.abs(golden)
    elif name.startswith("grad"):
        allowed = 0.01 * np.abs(golden).max(initial=0) + np.zeros_like(golden)
    else:
        allowed = (5e-3 if "masks" in name else 1e-3) + 1e-3 * np.abs(golden)
    ok = bool((difference <= allowed).all())  # False for NaN
    return Verdict(name, f"{difference.max(initial=0):.1e}", ok)
