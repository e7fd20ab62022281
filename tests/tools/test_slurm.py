"""The Slurm script of docs/training_at_scale.md, with programs of the cluster that only look."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

STUBS = {
    "scontrol": 'test "$*" = "show hostnames node[3-4]" && printf "node3\\nnode4\\n"',
    "srun": 'printf "%s\\n" "$@"',
}


@pytest.fixture
def script(tmp_path: Path) -> Path:
    page = (ROOT / "docs" / "training_at_scale.md").read_text(encoding="utf-8")
    [text] = re.findall(r"```bash\n(#!/bin/bash\n#SBATCH.*?)```", page, re.DOTALL)
    file = tmp_path / "job.sh"
    file.write_text(text)
    return file


def test_it_is_valid_shell(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)


def test_every_node_starts_torchrun_with_the_first_as_meeting_point(
    script: Path, tmp_path: Path
) -> None:
    for name, body in STUBS.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
    job = {"SLURM_JOB_NODELIST": "node[3-4]", "SLURM_NNODES": "2", "SLURM_JOB_ID": "77"}
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", script], env={**os.environ, **job, "PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    launcher, _, program = done.stdout.partition("tools/train_net.py\n")
    words = launcher.split()
    assert words[0] == "torchrun"
    assert dict(zip(words[1::2], words[2::2], strict=True)) == {
        "--nnodes": "2",
        "--nproc-per-node": "8",
        "--rdzv-id": "77",
        "--rdzv-backend": "c10d",
        "--rdzv-endpoint": "node3:29500",
    }
    assert program.split() == ["--config-file", "FILE", "--resume", "OUTPUT_DIR", "output/run"]


def test_the_nodes_of_the_job_are_those_that_the_script_asks_for(script: Path) -> None:
    text = script.read_text()
    [gpus] = re.findall(r"--gpus-per-node=(\d+)", text)
    assert f"--nproc-per-node {gpus} " in text
    assert "--signal=TERM@" in text and "--requeue" in text
