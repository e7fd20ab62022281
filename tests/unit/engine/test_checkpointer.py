"""Which checkpoints stay, which one a resumed run takes, and what a full disk leaves behind."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dvis_daq.engine import checkpointer as module
from dvis_daq.engine.checkpointer import Checkpointer
from dvis_daq.engine.errors import TrainingError


def _make(folder: Path, keep: int = 0) -> Checkpointer:
    return Checkpointer(nn.Linear(2, 2), str(folder), keep=keep)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_numbered_ones_stay(tmp_path: Path) -> None:
    checkpointer = _make(tmp_path, keep=2)
    for name in ("model_0000009", "model_best", "model_0000019", "model_final", "model_0000029"):
        checkpointer.save(name, iteration=1)
    kept = ["model_0000019.pth", "model_0000029.pth", "model_best.pth", "model_final.pth"]
    assert _names(tmp_path) == ["last_checkpoint", *kept]


def test_all_stay_by_option(tmp_path: Path) -> None:
    checkpointer = _make(tmp_path)
    for number in range(7):
        checkpointer.save(f"model_{number:07d}", iteration=number)
    assert len(_names(tmp_path)) == 8


def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".model_0000003.pth.17.tmp").write_bytes(b"half")
    _make(tmp_path).save("model_0000005", iteration=5)
    assert _names(tmp_path) == ["last_checkpoint", "model_0000005.pth"]


def test_noise_in_the_tag_is_no_obstacle(tmp_path: Path) -> None:
    checkpointer = _make(tmp_path)
    for number in (3, 5):
        checkpointer.save(f"model_{number:07d}", iteration=number)
        os.utime(tmp_path / f"model_{number:07d}.pth", (number, number))
    (tmp_path / "last_checkpoint").write_bytes(b"\xff\x00noise")
    assert checkpointer.resume()["iteration"] == 5


def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of a device that is really full, by way of /dev/full."""
    checkpointer = _make(tmp_path, keep=1)
    checkpointer.save("model_0000001", iteration=1)
    before = (tmp_path / "model_0000001.pth").read_bytes()

    def write(path: Path, fill: Any) -> None:
        with open("/dev/full", "wb") as file:
            fill(file)

    monkeypatch.setattr(module, "write_atomically", write)
    message = (
        r"model_0000003.pth cannot be written \(No space left on device\); "
        r".*model_0000001.pth before it is untouched. Make room"
    )
    with pytest.raises(TrainingError, match=message):
        checkpointer.save("model_0000003", iteration=3, more=torch.rand(1000))
    assert (tmp_path / "model_0000001.pth").read_bytes() == before
    assert checkpointer.resume()["iteration"] == 1
