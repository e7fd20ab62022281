"""A convolution with norm and activation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

__all__ = ["Conv2d"]


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d` followed by an optional norm and activation.

    Args:
        *args: as for `torch.nn.Conv2d`.
        norm: module applied to the result.
        activation: function applied last.
        **kwargs: as for `torch.nn.Conv2d`; the bias is not switched off by a norm.
    """

    def __init__(
        self,
        *args: Any,
        norm: nn.Module | None = None,
        activation: Callable[[Tensor], Tensor] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.norm = norm
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to (N, C', H', W')."""
        x = super().forward(x)
        if self.norm is not None:
            x = self.norm(x)
        return x if self.activation is None else self.activation(x)
