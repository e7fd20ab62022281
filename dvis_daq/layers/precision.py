"""Arithmetic that must not run in half precision, also under autocast."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Casts half precision up; float32 and float64 (parity tests) stay what they are."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def without_float16(x: Tensor) -> Tensor:
    """Casts float16 up, whose range is short; bfloat16 stays, as it does in `half_range`."""
    return x.float() if x.dtype is torch.float16 else x


def half_range(x: Tensor) -> torch.autocast:
    """A context for sums that leave the range of float16: float32 instead of it.

    Autocast to bfloat16, which has the range of float32, stays on.
    """
    kind = x.device.type
    enabled = torch.is_autocast_enabled(kind)
    dtype = torch.get_autocast_dtype(kind)
    return torch.autocast(kind, dtype, enabled=enabled and dtype is torch.bfloat16)


def inference_autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """The context in which a network runs in `dtype`; float32 turns autocast off."""
    return torch.autocast(device.type, dtype, enabled=dtype is not torch.float32)


def no_autocast(x: Tensor) -> torch.autocast:
    """A context in which autocast is off on the device of `x`."""
    return torch.autocast(x.device.type, enabled=False)
