"""Shared by all tests: where the reference data is, seeds, one thread."""

import dvis_daq  # noqa: F401  makes detectron2 importable, before anything else

# isort: split
import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


def shared_dir(*parts: str) -> Path:
    """A folder of the reference data that travels beside the repository.

    It is `../shared` from the root of the repository, or `DVIS_DAQ_SHARED`.
    """
    base = Path(os.environ.get("DVIS_DAQ_SHARED", ROOT.parent / "shared"))
    return base.joinpath(*parts)


def require_shared(*parts: str) -> Path:
    """`shared_dir`, or a skip with the reason where it is absent."""
    path = shared_dir(*parts)
    if not path.exists():
        pytest.skip(f"reference data not found: {path} (set DVIS_DAQ_SHARED)")
    return path


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def reference_dir() -> Path:
    """Golden arrays, weights by rule, manifests (`shared/reference`)."""
    return require_shared("reference")


@pytest.fixture(scope="session")
def synthetic_bench() -> Path:
    """The synthetic comparison set: train.json + train/, val.json + val/."""
    return require_shared("data", "synthetic_bench")


@pytest.fixture(scope="session")
def real_clips() -> Path:
    """A few real clips with masks: annotations.json + JPEGImages/."""
    return require_shared("data", "real_clips")
