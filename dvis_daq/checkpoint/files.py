"""Reading and writing checkpoint files without executing anything that they contain.

A pickle is a program. The three kinds of file that this field exchanges are read here by
readers that know tensors, arrays and plain containers, and refuse every other name:

- `.pth`, `.pt`: `torch.load(weights_only=True)`;
- `.pkl` (Detectron2, Mask2Former): an unpickler with a short list of names;
- `.safetensors`: our own format for finished weights, with a text header.
"""

from __future__ import annotations

import io
import logging
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

from dvis_daq.checkpoint.pickles import PickledArray, RefusedError, read_pickle, read_torch

logger = logging.getLogger(__name__)

_MAX_EXPANDED = 2**20  # bytes of a tensor that repeats what is stored
SUFFIXES = (".pth", ".pt", ".pkl", ".safetensors")


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or does not fit; the message says what to do."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint that is not whole."""


def read_checkpoint(path: str | os.PathLike[str], *, trust: bool = False) -> dict[str, Any]:
    """Reads a checkpoint file onto the CPU.

    Args:
        path: `.pth`, `.pt`, `.pkl` or `.safetensors`.
        trust: unpickle whatever the file holds, which executes what it says; logged. For a file
            of a source that you trust with your account.

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
    if trust:
        logger.warning("%s: trusted; code that it holds is executed", path)
    try:
        content = (_TRUSTING if trust else _READERS)[path.suffix](path)
    except RefusedError as refused:
        raise CheckpointError(
            f"{path}: refused, because it asks for {refused} to be imported; a checkpoint may "
            "hold tensors, arrays and plain containers only. Nothing was executed. If you trust "
            "its source, tools/convert_checkpoint.py --trust-checkpoint makes a safe file of it"
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
        _flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Makes a rename survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# What the readers raise on bytes that are no checkpoint; unpickling noise can raise any of these.
_DAMAGE = (
    pickle.UnpicklingError,
    safetensors.SafetensorError,
    zipfile.BadZipFile,
    struct.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def _read_torch(path: Path) -> Any:
    _verify_archive(path)
    return read_torch(path)


def _trust_torch(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=False)


def _trust_pickle(path: Path) -> Any:
    with open(path, "rb") as file:
        return pickle.load(file, encoding="latin1")


def _reason(error: Exception) -> str:
    """The first line of an error, without torch's advice to turn its guard off."""
    text = re.sub(r"(?s)^Weights only load failed.*?(WeightsUnpickler error:|$)", "", str(error))
    return text.strip().partition("\n")[0] or type(error).__name__


def _verify_archive(path: Path) -> None:
    """torch writes a checksum of each record, but does not look at it.

    It compresses nothing either: an archive that says it holds more than its own size is meant
    to fill the memory.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        if sum(record.file_size for record in archive.infolist()) > path.stat().st_size:
            raise zipfile.BadZipFile("its records are larger than the file")
        wrong = archive.testzip()
    if wrong is not None:
        raise zipfile.BadZipFile(f"the checksum of {wrong} is wrong")


def _read_safetensors(path: Path) -> dict[str, Any]:
    with safetensors.safe_open(path, framework="pt", device="cpu") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return {"model": tensors, "metadata": file.metadata() or {}}


_READERS: dict[str, Callable[[Path], Any]] = {
    ".pth": _read_torch,
    ".pt": _read_torch,
    ".pkl": read_pickle,
    ".safetensors": _read_safetensors,
}
_TRUSTING = {**_READERS, ".pth": _trust_torch, ".pt": _trust_torch, ".pkl": _trust_pickle}


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
        if value.nbytes > max(value.untyped_storage().nbytes(), _MAX_EXPANDED):
            raise CheckpointError(f"{path}: {name!r} claims to be larger than what is stored of it")
        return value.detach()
    if isinstance(name, str) and isinstance(value, np.ndarray):  # of a trusted file
        return torch.from_numpy(value)
    if isinstance(name, str) and isinstance(value, PickledArray):
        return torch.from_numpy(value.to_numpy())
    if isinstance(name, str) and isinstance(value, (bool, int, float)):
        return torch.tensor(value)
    raise CheckpointError(
        f"{path}: entry {name!r} is a {type(value).__name__}; expected weights by name, "
        'alone or under "model"'
    )
