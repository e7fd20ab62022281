"""Pickled weights without running what a pickle may hold."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np

from detectron2.utils.file_io import PathManager

__all__ = ["load_pickle"]

_ARRAY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")  # before and since numpy 2
_ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("collections", "OrderedDict"): dict,
    ("_codecs", "encode"): lambda text, encoding: text.encode(encoding),  # bytes in protocol 2
}


class _WeightsUnpickler(pickle.Unpickler):
    """Rebuilds numpy arrays and plain containers, nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if module in _ARRAY_MODULES and name in ("_reconstruct", "scalar"):
            return super().find_class(_array_module(), name)
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is no array")
        return _ALLOWED[module, name]


def _array_module() -> str:
    return "numpy._core.multiarray" if hasattr(np, "_core") else "numpy.core.multiarray"


def load_pickle(path: str) -> dict[str, Any]:
    """Reads a `.pkl` of weights.

    Args:
        path: the file: a pickled dict of numpy arrays and plain data, as released with Python 2
            or 3.

    Raises:
        ValueError: it holds anything else, which could be code.
    """
    with PathManager.open(path, "rb") as file:
        try:
            data = _WeightsUnpickler(file, encoding="latin1").load()
        except pickle.UnpicklingError as error:
            raise ValueError(
                f"{path} holds more than arrays ({error}) and is not read; convert it to .pth or "
                ".safetensors where you trust it."
            ) from error
    if not isinstance(data, dict):
        raise ValueError(f"{path} holds a {type(data).__name__}, expected a dict of weights")
    return data
