"""A process of a run is killed or fails, a data worker is killed, the run is told to stop."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from dvis_daq.checkpoint import read_checkpoint
from tests.conftest import ROOT
from tests.tiny_run import tiny_config

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="starts processes on the CPU")

TIMEOUT = 200  # seconds
OPTIONS = ("DATASETS.TEST", "()", "SOLVER.CHECKPOINT_PERIOD", "5")


def _start(
    file: Path, output: Path, *arguments: str, launcher: Sequence[str] = ()
) -> subprocess.Popen[str]:
    command = [*(launcher or [sys.executable]), "tools/train_net.py", "--config-file", str(file)]
    log = open(output.with_suffix(".txt"), "w")  # noqa: SIM115  closed with the process
    return subprocess.Popen(
        [*command, *arguments, *OPTIONS, "OUTPUT_DIR", str(output)],
        stdout=log, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip


def _wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + TIMEOUT
    while not path.exists():
        assert process.poll() is None and time.monotonic() < end, path
        time.sleep(0.05)


def _descendants(pid: int) -> list[int]:
    text = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True).stdout
    parents = [tuple(map(int, line.split())) for line in text.splitlines()[1:]]
    found = [pid]
    for parent in found:
        found += [child for child, of in parents if of == parent]
    return found[1:]


def _ranks(process: subprocess.Popen[str]) -> list[int]:
    """The processes of the run that train: they have the most memory of the descendants."""
    sizes = {}
    for pid in _descendants(process.pid):
        with open(f"/proc/{pid}/statm") as file:
            sizes[pid] = int(file.read().split()[1])
    return sorted(sizes, key=sizes.__getitem__)[-2:]


def test_a_killed_rank_ends_the_run(tmp_path: Path, tally: Callable[..., None]) -> None:
    file = tiny_config(tmp_path, "DVIS_DAQ_online")
    output = tmp_path / "out"
    process = _start(file, output, "--num-gpus", "2", "SOLVER.MAX_ITER", "100000")
    _wait_for(output / "model_0000009.pth", process)
    os.kill(_ranks(process)[1], signal.SIGKILL)
    assert process.wait(TIMEOUT) == 1
    text = output.with_suffix(".txt").read_text()
    assert "of the run was ended by SIGKILL (out of memory?), and the others with it" in text
    tally(
        "a rank killed", 1, 1, "the run ended with its name; iterations since the last checkpoint"
    )


def test_torchrun_starts_anew_and_goes_on(tmp_path: Path, tally: Callable[..., None]) -> None:
    file = tiny_config(tmp_path, "DVIS_DAQ_online")
    output = tmp_path / "out"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone",
                "--nproc-per-node", "2", "--max-restarts", "1"]  # fmt: skip
    process = _start(file, output, "SOLVER.MAX_ITER", "60", launcher=launcher)
    _wait_for(output / "model_0000014.pth", process)
    os.kill(_ranks(process)[1], signal.SIGKILL)
    assert process.wait(TIMEOUT) == 0
    text = output.with_suffix(".txt").read_text()
    begun = [int(n) for n in re.findall(r"Starting training from iteration (\d+)", text)]
    assert begun[0] == 0
    assert begun[-1] >= 15
    assert read_checkpoint(output / "model_final.pth")["iteration"] == 59
    tally("a rank killed under torchrun", 1, 1, "started anew by itself from the last checkpoint")


def test_a_failing_rank_shows_its_traceback(tmp_path: Path, tally: Callable[..., None]) -> None:
    """Rank 1 alone cannot read its share of the data."""
    file = tiny_config(tmp_path, "DVIS_DAQ_online")
    for frame in (tmp_path / "images" / "b").iterdir():
        frame.write_bytes(b"")
    output = tmp_path / "out"
    process = _start(file, output, "--num-gpus", "2", "SOLVER.MAX_ITER", "100000")
    assert process.wait(TIMEOUT) == 1
    text = output.with_suffix(".txt").read_text()
    assert "error: one process failed and the others were ended" in text
    assert "Traceback (most recent call last)" in text
    assert re.search(r"BrokenDataError: .*images/b/00\d.png", text)
    tally("a rank fails", 1, 1, "the run ended with its traceback")


def test_a_killed_data_worker_is_named(tmp_path: Path, tally: Callable[..., None]) -> None:
    file = tiny_config(tmp_path, "DVIS_DAQ_online")
    output = tmp_path / "out"
    workers = ("DATALOADER.NUM_WORKERS", "2", "SOLVER.MAX_ITER", "100000")
    process = _start(file, output, *workers)
    _wait_for(output / "model_0000009.pth", process)
    children = sorted(_descendants(process.pid))
    os.kill(children[1], signal.SIGKILL)
    assert process.wait(TIMEOUT) == 1
    text = output.with_suffix(".txt").read_text()
    how = "(is killed by signal: Killed|exited unexpectedly)"  # whether torch saw the signal first
    assert re.search(rf"data worker 1 of 2 \(process {children[1]}\) {how}", text)
    tally("a data worker killed", 1, 1, "the run ended with its name")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop(tmp_path: Path, number: signal.Signals, tally: Callable[..., None]) -> None:
    """With data workers that get the signal, too, as from a terminal or a scheduler."""
    file = tiny_config(tmp_path, "DVIS_DAQ_online")
    output = tmp_path / "out"
    options = ("DATALOADER.NUM_WORKERS", "2", "SOLVER.MAX_ITER", "100000")
    process = _start(file, output, *options)
    _wait_for(output / "model_0000009.pth", process)
    for pid in [*_descendants(process.pid), process.pid]:
        os.kill(pid, number)
    assert process.wait(TIMEOUT) == 128 + number
    text = output.with_suffix(".txt").read_text()
    saved = re.search(r"stopped by (\w+); saved (\S+)", text)
    assert saved[1] == number.name
    iteration = read_checkpoint(saved[2])["iteration"]
    assert f"to go on: python tools/train_net.py --resume --config-file {file}" in text
    log = (output / "log.txt").read_text()
    assert "stops after this iteration" in log
    tally(f"{number.name} to all processes", 1, 1, f"nothing (saved iteration {iteration})")
