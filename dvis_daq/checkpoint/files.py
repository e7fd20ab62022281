"""Reading and writing checkpoint files without executing anything that they contain.

A pickle is a program. The three kinds of file that this field exchanges are read here by
readers that know tensors, arrays and plain containers, and refuse every other name:

- `.pth`, `.pt`: `torch.load(weights_only=True)`;
- `.pkl` (Detectron2, Mask2Former): an unpickler with a short list of names;
- `.safetensors`: our own format for finished weights, with a text header.
"""

from __future__ import annotations

import collections
import io
import os
import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

SUFFIXES = (".pth", ".pt", ".pkl", ".safetensors")


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or does not fit; the message says what to do."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint that is not whole."""


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a checkpoint file onto the CPU.

    Args:
        path: `.pth`, `.pt`, `.pkl` or `.safetensors`.

    Returns:
        `"model"`: name -> tensor, as in the file but without a `module.` in front of every
        name; and what else the file holds (`"iteration"`, `"trainer"`, ...). The header of
        a safetensors file is under `"metadata"`.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedCheckpointError: the file is not whole, or no checkpoint.
        CheckpointError: another kind of file, one that asks for code to be executed, or one
            without weights.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    if path.suffix not in _READERS:
        raise CheckpointError(f"{path}: a checkpoint ends in one of {', '.join(SUFFIXES)}")
    try:
        content = _READERS[path.suffix](path)
    except _RefusedError as refused:
        raise CheckpointError(
            f"{path}: refused, because it asks for {refused} to be imported; a checkpoint may "
            "hold tensors, arrays and plain containers only. Nothing was executed."
        ) from None
    except _DAMAGE as error:
        raise DamagedCheckpointError(
            f"{path}: damaged, incomplete or no checkpoint ({_reason(error)}); "
            "copy or download it again"
        ) from None
    return _unwrap(content, path)


def write_weights(
    path: str | os.PathLike[str],
    state: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes finished weights; the file appears only when it is complete.

    Args:
        path: `.safetensors`, or `.pth` for programs that know no other format.
        state: name -> tensor.
        metadata: recipe, number of classes and the like, all text.

    Raises:
        CheckpointError: another suffix.
    """
    path = Path(path)
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    metadata = dict(metadata or {})
    if path.suffix == ".safetensors":
        # Tensors that share memory are refused by the format, hence the copies.
        payload = safetensors.torch.save({k: v.clone() for k, v in tensors.items()}, metadata)
        write_atomically(path, lambda file: file.write(payload))
    elif path.suffix in (".pth", ".pt"):
        content = {"model": tensors, "metadata": metadata}
        write_atomically(path, lambda file: torch.save(content, file))
    else:
        raise CheckpointError(f"{path}: weights are written as .safetensors or .pth")


def write_atomically(path: Path, write: Callable[[io.BufferedWriter], Any]) -> None:
    """Writes a file under a temporary name, flushes it to the disk and renames it.

    Whatever happens meanwhile, `path` is the old file or the complete new one.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


class _RefusedError(Exception):
    """A pickle asks for a name that is not on the list; the argument is that name."""


# What the readers raise on bytes that are no checkpoint; unpickling noise can raise any of these.
_DAMAGE = (
    pickle.UnpicklingError,
    safetensors.SafetensorError,
    zipfile.BadZipFile,
    struct.error,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def _read_torch(source: Path | io.BytesIO) -> Any:
    allowed: list[Any] = [(kind, name) for name, kind in _NUMPY_NAMES.items()]
    if torch.__version__ < "2.6":  # knows names by their present place only
        allowed = [kind for kind, _ in allowed]
    _verify_checksums(source)
    with torch.serialization.safe_globals(allowed):
        try:
            return torch.load(source, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise _refusal(str(error)) or error from None


def _reason(error: Exception) -> str:
    """The first line of an error, without torch's advice to turn its guard off."""
    text = re.sub(r"(?s)^Weights only load failed.*?(WeightsUnpickler error:|$)", "", str(error))
    return text.strip().partition("\n")[0] or type(error).__name__


def _verify_checksums(source: Path | io.BytesIO) -> None:
    """torch writes a checksum of each record, but does not look at it."""
    if isinstance(source, Path) and zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            wrong = archive.testzip()
        if wrong is not None:
            raise zipfile.BadZipFile(f"the checksum of {wrong} is wrong")


def _refusal(message: str) -> _RefusedError | None:
    """torch's report of a forbidden name as ours; None if it reports something else."""
    found = re.search(r"\bGLOBAL (\S+)", message)
    return _RefusedError(found[1]) if found else None


def _read_pickle(path: Path) -> Any:
    with open(path, "rb") as file:
        # latin1 is how Python 3 reads arrays that Python 2 wrote
        return _DataUnpickler(file, encoding="latin1").load()


def _read_safetensors(path: Path) -> dict[str, Any]:
    with safetensors.safe_open(path, framework="pt", device="cpu") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return {"model": tensors, "metadata": file.metadata() or {}}


_READERS: dict[str, Callable[[Path], Any]] = {
    ".pth": _read_torch,
    ".pt": _read_torch,
    ".pkl": _read_pickle,
    ".safetensors": _read_safetensors,
}


class _DataUnpickler(pickle.Unpickler):
    """Unpickles arrays, tensors and plain containers; refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = _PICKLE_NAMES.get(f"{module}.{name}")
        if allowed is None:
            raise _RefusedError(f"{module}.{name}")
        return allowed

    def persistent_load(self, identity: Any) -> Any:
        raise pickle.UnpicklingError("it refers to data outside the file")


def _empty_array(kind: Any, shape: Any, dtype: Any) -> np.ndarray:
    """First half of an array's pickle. Always empty: the second half brings size and bytes."""
    return np.ndarray(0, dtype="V1")


def _filled_array(buffer: Any, dtype: np.dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    """An array's pickle in protocol 5."""
    return np.frombuffer(buffer, dtype=dtype).reshape(shape, order="F" if order == "F" else "C")


def _bytes(text: str, encoding: str) -> bytes:
    """How the oldest protocols spell bytes."""
    if encoding != "latin1":
        raise _RefusedError(f"the codec {encoding}")
    return text.encode("latin1")


def _tensor_storage(payload: bytes) -> Any:
    """A tensor's storage inside a plain pickle is a torch file of its own."""
    return _read_torch(io.BytesIO(payload))


_SCALAR = np.float64(0).__reduce__()[0]
_DTYPES = tuple(type(np.dtype(code)) for code in "?bBhHiIlLqQefd")

_NUMPY_NAMES: dict[str, Any] = {
    "numpy.dtype": np.dtype,
    "numpy.core.multiarray.scalar": _SCALAR,
    "numpy._core.multiarray.scalar": _SCALAR,
    **{f"numpy.dtypes.{kind.__name__}": kind for kind in _DTYPES},
}

_PICKLE_NAMES: dict[str, Any] = {
    **_NUMPY_NAMES,
    "_codecs.encode": _bytes,
    "collections.OrderedDict": collections.OrderedDict,
    "numpy.ndarray": np.ndarray,
    "numpy.core.multiarray._reconstruct": _empty_array,
    "numpy._core.multiarray._reconstruct": _empty_array,
    "numpy.core.numeric._frombuffer": _filled_array,
    "numpy._core.numeric._frombuffer": _filled_array,
    "torch._utils._rebuild_tensor_v2": torch._utils._rebuild_tensor_v2,
    "torch._utils._rebuild_parameter": torch._utils._rebuild_parameter,
    "torch.storage._load_from_bytes": _tensor_storage,
}


def _unwrap(content: Any, path: Path) -> dict[str, Any]:
    """`{"model": tensors, ...}` from that or from a bare mapping of tensors."""
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not weights by name")
    wrapped = isinstance(content.get("model"), Mapping)
    weights = content["model"] if wrapped else content
    rest = {key: value for key, value in content.items() if key != "model"} if wrapped else {}
    state = {name: _as_tensor(name, value, path) for name, value in weights.items()}
    if not state:
        raise CheckpointError(f"{path}: holds no weights")
    if all(name.startswith("module.") for name in state):  # saved from DistributedDataParallel
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return {**rest, "model": state}


def _as_tensor(name: Any, value: Any, path: Path) -> Tensor:
    if isinstance(name, str) and isinstance(value, Tensor):
        return value.detach()
    numeric = isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biuf"
    if isinstance(name, str) and numeric:
        return torch.from_numpy(np.array(value))
    raise CheckpointError(
        f"{path}: entry {name!r} is a {type(value).__name__}; expected weights by name, "
        'alone or under "model"'
    )
