"""Weights and their names: released checkpoints in, ours out, and whether they fit a model."""

from dvis_daq.checkpoint.files import (
    CheckpointError,
    DamagedCheckpointError,
    read_checkpoint,
    write_atomically,
    write_weights,
)
from dvis_daq.checkpoint.loading import Signature, compare, load_state, load_weights
from dvis_daq.checkpoint.names import (
    OFFICIAL_NAMES,
    from_official,
    register_official_names,
    to_official,
)
from dvis_daq.checkpoint.transformers_names import from_transformers, is_transformers

__all__ = [
    "OFFICIAL_NAMES",
    "CheckpointError",
    "DamagedCheckpointError",
    "Signature",
    "compare",
    "from_official",
    "from_transformers",
    "is_transformers",
    "load_state",
    "load_weights",
    "read_checkpoint",
    "register_official_names",
    "to_official",
    "write_atomically",
    "write_weights",
]
