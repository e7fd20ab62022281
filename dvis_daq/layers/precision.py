"""Arithmetic that must not run in half precision, also under autocast."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Casts half precision up; float32 and float64 (parity tests) stay what they are."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def no_autocast(x: Tensor) -> torch.autocast:
    """A context in which autocast is off on the device of `x`."""
    return torch.autocast(x.device.type, enabled=False)
