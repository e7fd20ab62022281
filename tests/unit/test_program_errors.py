"""Which errors end a program with one line; what every program says with --help."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dvis_daq.config import get_config
from dvis_daq.program_errors import one_line_errors
from tests.conftest import ROOT
from tests.tools.scripts import load_script

PROGRAMS = [
    str(file.relative_to(ROOT))
    for folder in ("tools", "datasets", "benchmarks")
    for file in sorted((ROOT / folder).glob("*.py"))
    if "__main__" in file.read_text()
]


def test_our_errors_and_those_of_files_are_one_line() -> None:
    with pytest.raises(SystemExit, match="error: nowhere.yaml: no such"), one_line_errors():
        get_config("nowhere.yaml")
    with pytest.raises(SystemExit, match="error: .*No such file"), one_line_errors():
        open("nowhere.txt")  # noqa: SIM115


def test_errors_of_a_program_are_one_line(tmp_path: Path) -> None:
    prepare = load_script("datasets/prepare_coco.py")
    with pytest.raises(SystemExit, match="error: .*annotation file not found"), one_line_errors():
        prepare.read_coco(tmp_path / "nowhere.json")
    tool = load_script("tools/dataset.py")
    options = tool.parse_arguments(["stats", "--json", "x.json"])
    with pytest.raises(SystemExit, match="error: --json and --images belong"), one_line_errors():
        tool.locate(options)


def test_foreign_errors_keep_their_traceback() -> None:
    with pytest.raises(ValueError, match="num_channels"), one_line_errors():
        torch.nn.GroupNorm(32, 16)
    with pytest.raises(SystemExit, match="num_channels"), one_line_errors(ValueError):
        torch.nn.GroupNorm(32, 16)
    with pytest.raises(KeyError), one_line_errors(ValueError):
        raise KeyError("ours or not")


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_help_shows_examples_and_no_warning(program: str) -> None:
    done = subprocess.run(
        [sys.executable, program, "--help"], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert done.returncode == 0
    assert f"python {program}" in done.stdout
    assert done.stderr == ""


def test_programs_are_found() -> None:
    assert {"tools/train_net.py", "datasets/prepare_mose.py"} < set(PROGRAMS)
