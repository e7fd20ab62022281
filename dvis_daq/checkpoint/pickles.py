"""Pickles as data: numbers, text, containers, arrays and tensors, and nothing else.

Every name in a pickle is looked up in one short table of our own functions, so nothing of
another library runs on what a file says, except torch's `weights_only` reader.
"""

from __future__ import annotations

import collections
import functools
import io
import mmap
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch


class RefusedError(Exception):
    """A pickle asks for a name that is not on the list; the argument is that name."""


def read_pickle(path: Path) -> Any:
    """Reads a `.pkl` file; its arrays come as `PickledArray`.

    Raises:
        RefusedError: it asks for anything but data.
        Exception: it is damaged; bytes at random can raise almost any of the built-in errors.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        # latin1 is how Python 3 reads arrays that Python 2 wrote
        return _DataUnpickler(view, encoding="latin1").load()


def read_torch(source: Path | io.BytesIO) -> Any:
    """`torch.load(weights_only=True)`, which also lets NumPy's scalars pass."""
    allowed: list[Any] = [(kind, name) for name, kind in _SCALARS.items()]
    if torch.__version__ < "2.6":  # cannot be told of a name that stands for something else
        allowed = []
    with torch.serialization.safe_globals(allowed):
        try:
            return torch.load(source, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            refused = re.search(r"\bGLOBAL (\S+)", str(error))
            raise RefusedError(refused[1]) if refused else error from None


class PickledType:
    """A number format: NumPy's `dtype` as it stands in a pickle."""

    def __init__(self, code: str, *_: bool) -> None:
        if not re.fullmatch(r"b1|[iu][1248]|f[248]", code):
            raise pickle.UnpicklingError(
                f"it holds an array of {code!r}, which is no number format"
            )
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] == ">":
            self.dtype = self.dtype.newbyteorder(">")


class PickledArray:
    """An array as it stands in a pickle."""

    def __init__(self) -> None:
        self._values = np.empty(0)

    @classmethod
    def filled(cls, buffer: Any, kind: PickledType, shape: Any, order: str) -> PickledArray:
        """From protocol 5."""
        array = cls()
        array.__setstate__((1, shape, kind, order == "F", buffer))
        return array

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, column_major, buffer = state
        values = np.frombuffer(buffer, dtype=kind.dtype)
        self._values = values.reshape(shape, order="F" if column_major else "C")

    def to_numpy(self) -> np.ndarray:
        """A copy, in the byte order of this machine."""
        return self._values.astype(self._values.dtype.newbyteorder("="))


def _scalar(kind: PickledType, buffer: bytes) -> int | float | bool:
    return np.frombuffer(buffer, dtype=kind.dtype)[0].item()


def _bytes(text: str, encoding: str) -> bytes:
    """How the oldest protocols spell bytes."""
    if encoding != "latin1":
        raise RefusedError(f"the codec {encoding}")
    return text.encode("latin1")


# pickle's own C reader fills as much memory as a damaged file tells it to; this one does not.
class _DataUnpickler(pickle._Unpickler):
    """Knows the names of `_NAMES`."""

    def find_class(self, module: str, name: str) -> Any:
        made = _NAMES.get(f"{module}.{name}")
        if made is None:
            raise RefusedError(f"{module}.{name}")
        return functools.partial(made)  # one for each use, since a pickle can change what it got

    def persistent_load(self, identity: Any) -> Any:
        raise pickle.UnpicklingError("it refers to data outside the file")


_SCALARS: dict[str, Callable[..., Any]] = {
    "numpy.dtype": PickledType,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
}

_NAMES: dict[str, Callable[..., Any]] = {
    **_SCALARS,
    "_codecs.encode": _bytes,
    "collections.OrderedDict": collections.OrderedDict,
    "numpy.ndarray": PickledArray,
    "numpy.core.multiarray._reconstruct": lambda kind, shape, code: PickledArray(),
    "numpy._core.multiarray._reconstruct": lambda kind, shape, code: PickledArray(),
    "numpy.core.numeric._frombuffer": PickledArray.filled,
    "numpy._core.numeric._frombuffer": PickledArray.filled,
    "torch._utils._rebuild_tensor_v2": torch._utils._rebuild_tensor_v2,
    "torch._utils._rebuild_parameter": torch._utils._rebuild_parameter,
    # The storage of a tensor inside a plain pickle is a torch file of its own.
    "torch.storage._load_from_bytes": lambda payload: read_torch(io.BytesIO(payload)),
}
