"""Initial weights of the released models."""

from __future__ import annotations

from torch import nn

from dvis_daq.environment import quiet_fvcore

with quiet_fvcore():
    from fvcore.nn.weight_init import c2_xavier_fill

__all__ = ["c2_xavier_fill", "xavier_matrices"]


def xavier_matrices(module: nn.Module) -> None:
    """Xavier-uniform for every parameter of more than one dimension (spec of the release)."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
