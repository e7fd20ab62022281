"""Processes: contract 4.9, on both sides; two of them talk over Gloo."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from detectron2.engine import launch
from detectron2.utils import comm

from tests.conftest import ROOT

from .processes import main


def test_alone() -> None:
    assert (comm.get_world_size(), comm.get_rank(), comm.get_local_rank()) == (1, 0, 0)
    assert comm.get_local_size() == 1 and comm.is_main_process()
    assert comm.gather("x") == comm.all_gather("x") == ["x"]
    values = {"a": torch.tensor(1.0)}
    assert comm.reduce_dict(values) == values
    assert isinstance(comm.shared_random_seed(), int)
    comm.synchronize()


def test_one_process_is_a_direct_call() -> None:
    calls = []
    launch(lambda *args: calls.append(args), 1, dist_url="auto", args=(1, 2))
    assert calls == [(1, 2)] and not torch.distributed.is_initialized()


gloo = pytest.mark.skipif(
    torch.cuda.is_available(), reason="launch takes NCCL where there is a GPU"
)


@gloo
def test_two_processes_by_launch(tmp_path: Path) -> None:
    launch(main, 2, dist_url="auto", args=(str(tmp_path),))
    check(tmp_path)


def test_two_processes_by_torchrun(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("", 0))
        port = str(probe.getsockname()[1])
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,  # and what torchrun adds
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "WORLD_SIZE": "2",
    }
    script = str(Path(__file__).with_name("processes.py"))
    processes = [
        subprocess.Popen([sys.executable, script, str(tmp_path)], env={**environment, "RANK": rank})
        for rank in "01"
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    check(tmp_path)


def check(folder: Path) -> None:
    """What the two have seen."""
    first, second = (json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first["rank"] == [0, 0, True] and second["rank"] == [1, 1, False]
    assert first["size"] == second["size"] == [2, 2]
    assert first["all_gather"] == second["all_gather"] == [{"rank": 0}, {"rank": 1}]
    assert (first["gather"], second["gather"]) == ([0, 1], [])
    assert (first["gather_to_1"], second["gather_to_1"]) == ([], [0, 1])
    assert first["reduced"] == {"a": 5.0, "b": 1.5}
    assert first["seed"] == second["seed"]
    assert (first["inference"], second["inference"]) == ([0, 1, 2], [3, 4])
    assert (first["training"], second["training"]) == ([4, 1, 2], [0, 3, 3])
    assert first["share"] == second["share"] == 2
    assert "Total batch size (3) must be divisible by the number of gpus (2)" in first["odd_batch"]
