"""A disk that is full, or read-only: nothing older is lost."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.tiny_run import tiny_config

UNSHARE = ["unshare", "--map-root-user", "--mount"]


def _can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*UNSHARE, "true"], capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not _can_mount(), reason="a user namespace is not allowed here")


def _run(script: str) -> subprocess.CompletedProcess[str]:
    """Runs shell lines in a mount namespace of their own."""
    return subprocess.run(
        [*UNSHARE, "sh", "-c", script], capture_output=True, text=True, timeout=400, cwd=ROOT
    )


def test_a_small_disk_fills_up(tmp_path: Path, tally: Callable[..., None]) -> None:
    """Two checkpoints fit on a tmpfs, the third does not; after tidying up it goes on."""
    file = tiny_config(tmp_path, "DVIS_DAQ_online")
    train = f"{sys.executable} -W ignore tools/train_net.py --config-file {file} --resume"
    options = "DATASETS.TEST '()' SOLVER.CHECKPOINT_PERIOD 2 SOLVER.MAX_ITER 8 OUTPUT_DIR"
    out = tmp_path / "out"
    out.mkdir()
    done = _run(
        f"mount -t tmpfs -o size=14m tmpfs {out}\n"
        f"{train} {options} {out}; echo status $?\n"
        f"cd {out} && ls; cat last_checkpoint; cd {ROOT}\n"
        f"rm -f {out}/model_0000001.pth {out}/*tfevents*; mount -o remount,size=200m {out}\n"
        f"{train} {options} {out}; echo status $?; ls {out}"
    )
    text = done.stdout + done.stderr
    first, _, second = done.stdout.partition("status 1")
    assert second, text
    assert "No space left on device" in text
    assert "before it is untouched. Make room" in text
    assert "model_0000001.pth" in second.split("status")[0], text
    assert ".tmp" not in second
    assert "status 0" in second, text
    assert "Going on with iteration" in second
    assert "model_final.pth" in second
    tally(
        "disk full during a checkpoint", 1, 1, "the run stopped; older checkpoints whole, went on"
    )


def test_a_read_only_output(tmp_path: Path, tally: Callable[..., None]) -> None:
    """One line, before anything is trained."""
    file = tiny_config(tmp_path, "DVIS_DAQ_online")
    out = tmp_path / "out"
    out.mkdir()
    done = _run(
        f"mount -t tmpfs -o ro,size=1m tmpfs {out}\n"
        f"{sys.executable} -W ignore tools/train_net.py --config-file {file} OUTPUT_DIR {out}"
    )
    assert done.returncode == 1
    assert "error: " in done.stderr
    assert "Read-only file system" in done.stderr
    assert "Traceback" not in done.stderr
    tally("read-only output", 1, 1, "nothing: one line before the training")
