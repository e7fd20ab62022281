"""Reading and writing: what is accepted, what is refused, and that nothing is executed."""

import argparse
import contextlib
import os
import pickle
import zipfile
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dvis_daq.checkpoint import (
    CheckpointError,
    pickles,
    read_checkpoint,
    write_atomically,
    write_weights,
)
from tests.fuzz import fuzz_cases

STATE = {"backbone.weight": torch.arange(6.0).reshape(2, 3), "count": torch.tensor(3)}


def _same(got: dict[str, torch.Tensor], want: dict[str, torch.Tensor]) -> bool:
    return got.keys() == want.keys() and all(torch.equal(got[k], want[k]) for k in want)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_write_then_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    write_weights(path, STATE, {"recipe": "MinVIS"})
    content = read_checkpoint(path)
    assert _same(content["model"], STATE)
    assert content["metadata"] == {"recipe": "MinVIS"}
    assert os.listdir(tmp_path) == [path.name]


def test_shared_tensors_can_be_written(tmp_path: Path) -> None:
    tied = {"a": STATE["count"], "b": STATE["count"]}
    write_weights(tmp_path / "w.safetensors", tied)
    assert _same(read_checkpoint(tmp_path / "w.safetensors")["model"], tied)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_of_arrays_and_tensors(tmp_path: Path, protocol: int) -> None:
    model = {
        "array": np.arange(6, dtype=np.float32).reshape(2, 3),
        "half": np.ones(3, np.float16),
        "tensor": torch.rand(2),
        "parameter": torch.nn.Parameter(torch.rand(2)),
        "scalar": np.float32(2),
    }
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"model": model, "__author__": "somebody"}, protocol=protocol))
    content = read_checkpoint(path)
    assert content["__author__"] == "somebody"
    for name, value in model.items():
        expected = value.detach().numpy() if isinstance(value, torch.Tensor) else value
        assert np.array_equal(content["model"][name].numpy(), expected), name
    content["model"]["array"] += 1  # writable


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"model": s, "iteration": 7}])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_bare_and_wrapped_and_distributed(tmp_path: Path, wrap: Any, prefix: str) -> None:
    torch.save(wrap({prefix + k: v for k, v in STATE.items()}), tmp_path / "m.pth")
    assert _same(read_checkpoint(tmp_path / "m.pth")["model"], STATE)


def test_numpy_scalars_beside_the_weights(tmp_path: Path) -> None:
    torch.save({"model": STATE, "best": np.float64(0.5)}, tmp_path / "m.pth")
    assert read_checkpoint(tmp_path / "m.pth")["best"] == 0.5


class _Hostile:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.witness),)


@pytest.mark.parametrize("suffix", [".pkl", ".pth", ".pt"])
def test_code_is_refused_and_not_executed(tmp_path: Path, suffix: str) -> None:
    path, witness = tmp_path / f"bad{suffix}", tmp_path / "executed"
    content = {"model": STATE, "extra": _Hostile(witness)}
    if suffix == ".pkl":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"bad.*asks for posix.mkdir"):
        read_checkpoint(path)
    assert not witness.exists()


def test_hostile_tensor_storage_inside_a_pickle(tmp_path: Path) -> None:
    """A pickled tensor carries a torch file of its own, which must be as safe."""
    torch.save(_Hostile(tmp_path / "executed"), tmp_path / "inner.pth")
    payload = (tmp_path / "inner.pth").read_bytes()

    class Storage:
        def __reduce__(self) -> tuple[Any, ...]:
            return torch.storage._load_from_bytes, (payload,)

    (tmp_path / "bad.pkl").write_bytes(pickle.dumps({"model": {"w": Storage()}}))
    with pytest.raises(CheckpointError, match="posix.mkdir"):
        read_checkpoint(tmp_path / "bad.pkl")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("suffix", [".pkl", ".pth"])
def test_a_trusted_file_is_executed_and_that_is_logged(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    path, witness = tmp_path / f"m{suffix}", tmp_path / "executed"
    state = {"a": np.arange(3.0)} if suffix == ".pkl" else {"a": torch.arange(3.0)}
    content = {"model": state, "extra": _Hostile(witness)}
    if suffix == ".pkl":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path)
    assert read_checkpoint(path, trust=True)["model"]["a"].tolist() == [0, 1, 2]
    assert witness.exists()
    assert "m" + suffix + ": trusted; code that it holds is executed" in caplog.text


def test_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(10**6)}, tmp_path / "m.pth")
    with zipfile.ZipFile(tmp_path / "m.pth") as source:
        records = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as target:
        for name, value in records.items():
            target.writestr(name, value)
    assert (tmp_path / "bomb.pth").stat().st_size < 10**5
    with pytest.raises(CheckpointError, match="records are larger than the file"):
        read_checkpoint(tmp_path / "bomb.pth")


def test_a_tensor_larger_than_its_storage_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1).expand(10**5, 10**5)}, tmp_path / "m.pth")
    with pytest.raises(CheckpointError, match="'a' claims to be larger than what is stored"):
        read_checkpoint(tmp_path / "m.pth")


def test_other_types_are_named(tmp_path: Path) -> None:
    torch.save({"model": STATE, "args": argparse.Namespace(lr=1)}, tmp_path / "m.pth")
    with pytest.raises(CheckpointError, match="asks for argparse.Namespace"):
        read_checkpoint(tmp_path / "m.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".pkl"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_truncated_file(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"cut{suffix}"
    if suffix == ".pkl":
        path.write_bytes(pickle.dumps({k: v.numpy() for k, v in STATE.items()}))
    else:
        write_weights(path, STATE)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match=r"cut.*(damaged, incomplete|asks for)"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list"),
        ({}, "holds no weights"),
        ({"model": {"a": "text"}}, "entry 'a' is a str"),
        ({1: torch.rand(1)}, "entry 1 is a Tensor"),
    ],
)
def test_no_weights(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "m.pth")
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(tmp_path / "m.pth")


def test_unknown_suffix_and_missing_file(tmp_path: Path) -> None:
    (tmp_path / "weights.h5").touch()
    with pytest.raises(CheckpointError, match=r"ends in one of \.pth"):
        read_checkpoint(tmp_path / "weights.h5")
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        read_checkpoint(tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="written as"):
        write_weights(tmp_path / "weights.pkl", STATE)


def test_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"old")

    def fail(file: Any) -> None:
        file.write(b"half of the new")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["weights.pth"]


def test_a_pickle_cannot_change_what_it_is_given(tmp_path: Path) -> None:
    """GLOBAL then BUILD with a slot state sets attributes of whatever the name stands for."""
    code = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nN}U\x05noiseK\x01s\x86b."
    (tmp_path / "bad.pkl").write_bytes(code)
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / "bad.pkl")
    known = pickles._NAMES["numpy.core.multiarray._reconstruct"]
    assert not hasattr(known, "noise")


def test_no_memory_is_taken_on_the_word_of_a_file(tmp_path: Path) -> None:
    """An index of 4 billion into the memo; a text of 2**62 bytes."""
    for code in (b"\x80\x02}r\xff\xff\xff\xff.", b"\x80\x04\x8d" + (2**62).to_bytes(8, "little")):
        (tmp_path / "bad.pkl").write_bytes(code)
        with pytest.raises(CheckpointError):
            read_checkpoint(tmp_path / "bad.pkl")


def test_bytes_of_another_machine(tmp_path: Path) -> None:
    array = np.arange(3, dtype=">f4")
    (tmp_path / "m.pkl").write_bytes(pickle.dumps({"a": array}))
    assert read_checkpoint(tmp_path / "m.pkl")["model"]["a"].tolist() == [0, 1, 2]


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(pickle.dumps({"a": np.array([{}])}))
    with pytest.raises(CheckpointError, match="no number format"):
        read_checkpoint(tmp_path / "m.pkl")


@cache
def _whole(suffix: str, kind: str) -> bytes:
    """Always the same bytes: a storage is stored under its address, which has more digits or less."""
    with TemporaryDirectory() as folder:
        path = Path(folder, f"whole{suffix}")
        _write(path, kind)
        return path.read_bytes()


def _write(path: Path, kind: str) -> None:
    arrays = {name: value.numpy() for name, value in STATE.items()}
    if kind == "new pickle":
        path.write_bytes(pickle.dumps({"model": arrays, "more": [1, ("a", torch.rand(2))]}))
    elif kind == "old pickle":
        path.write_bytes(pickle.dumps(arrays, protocol=2))
    elif kind == "old torch":
        torch.save(STATE, path, _use_new_zipfile_serialization=False)
    else:
        write_weights(path, STATE)


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        (".pkl", "new pickle"),
        (".pkl", "old pickle"),
        (".pth", "old torch"),
        (".pth", "new torch"),
        (".safetensors", ""),
    ],
)
@settings(
    max_examples=fuzz_cases(40, 500),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")  # of torch, about a damaged byte
def test_damaged_bytes_give_our_error_only(
    tmp_path: Path, suffix: str, kind: str, data: st.DataObject
) -> None:
    path = tmp_path / f"noise{suffix}"
    content = bytearray(_whole(suffix, kind))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        length = data.draw(st.integers(0, 4))
        content[place : place + length] = data.draw(st.binary(max_size=4))
    path.write_bytes(content)
    with contextlib.suppress(CheckpointError):
        read_checkpoint(path)
