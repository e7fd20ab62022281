"""The version of PyTorch and the seeds of all random generators."""

from __future__ import annotations

import logging
import os
import random

import numpy as np
import torch

__all__ = ["TORCH_VERSION", "seed_all_rng"]

TORCH_VERSION: tuple[int, int] = tuple(int(part) for part in torch.__version__.split(".")[:2])  # type: ignore[assignment]


def seed_all_rng(seed: int | None = None) -> None:
    """Seeds `random`, numpy and torch.

    Args:
        seed: the seed; drawn from the operating system and logged if None.
    """
    if seed is None:
        seed = int.from_bytes(os.urandom(4), "little")
        logging.getLogger(__name__).info("Using a generated random seed %d", seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
