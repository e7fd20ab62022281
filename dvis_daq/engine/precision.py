"""Number formats of training: float32, bfloat16, float16."""

from __future__ import annotations

import torch
from torch import Tensor

from dvis_daq.config import ConfigError

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """Autocast for the forward pass and, for fp16 alone, scaling of the gradients.

    Args:
        name: `fp32`, `bf16` or `fp16` (`SOLVER.PRECISION`).
        device: where the model is.

    Attributes:
        scaler: does nothing unless the precision is fp16; its state belongs in a checkpoint.

    Raises:
        ConfigError: unknown name, or fp16 on the CPU.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        if name not in _DTYPES:
            raise ConfigError(f"SOLVER.PRECISION is {name!r}; choose one of {', '.join(_DTYPES)}")
        if name == "fp16" and device.type == "cpu":
            raise ConfigError(
                "SOLVER.PRECISION fp16 needs a GPU, but MODEL.DEVICE is cpu; use bf16 or fp32"
            )
        self._dtype = _DTYPES[name]
        self._device_type = device.type
        self.scaler = torch.amp.GradScaler(device.type, enabled=name == "fp16")

    def autocast(self) -> torch.autocast:
        """The context of the forward pass."""
        enabled = self._dtype is not torch.float32
        return torch.autocast(self._device_type, self._dtype if enabled else None, enabled)

    def backward(self, loss: Tensor) -> None:
        """Adds the gradients of `loss`, scaled where the precision needs it."""
        self.scaler.scale(loss).backward()
