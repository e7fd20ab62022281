"""Which Detectron2 is taken, tried on imitations of the real one, and the pair of torch wheels.

Each case is a Python process without site-packages, so only the imitations can be found.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dvis_daq.environment import FALLBACK, torchvision_problem
from tests.conftest import ROOT

MODULES = ("config", "data", "engine", "evaluation", "checkpoint", "modeling")
GOOD = """
class HookBase:
    def after_backward(self): ...
class AMPTrainer:
    def __init__(self, precision): ...
"""
REPORT = """
import sys, dvis_daq, detectron2
print(dvis_daq.DETECTRON2)
print(getattr(detectron2, "__version__", "0.6"), getattr(detectron2, "__lite__", False))
print(sys.path)
"""


@pytest.fixture
def imitate(tmp_path: Path) -> Path:
    """A folder with a usable `detectron2`."""
    package = tmp_path / "site" / "detectron2"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    for module in MODULES:
        (package / f"{module}.py").write_text(GOOD if module == "engine" else "")
    return tmp_path / "site"


def python(code: str, *paths: Path, forced: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DVIS_DAQ_DETECTRON2": forced}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, (ROOT, *paths)))
    command = [sys.executable, "-S", "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)


def report(*paths: Path, forced: str = "") -> tuple[str, str, list[str], str]:
    """What the choice says of itself, the version, the path and what is on stderr."""
    done = python(REPORT, *paths, forced=forced)
    assert done.returncode == 0, done.stderr
    told, version, path = done.stdout.splitlines()
    return told, version, eval(path), done.stderr


def test_without_a_real_one_the_subset_stands_last() -> None:
    told, version, path, stderr = report()
    assert told == "Detectron2: the bundled subset 0.6+lite (no Detectron2 is installed)"
    assert version == "0.6+lite True" and path[-1] == str(FALLBACK) and not stderr


def test_a_real_one_wins(imitate: Path) -> None:
    told, version, path, stderr = report(imitate)
    assert told == f"Detectron2: the installed library in {imitate / 'detectron2'}"
    assert version == "0.6 False" and str(FALLBACK) not in path and not stderr


def test_lite_can_be_forced(imitate: Path) -> None:
    told, version, path, stderr = report(imitate, forced="lite")
    assert version == "0.6+lite True" and path[0] == str(FALLBACK)
    assert "DVIS_DAQ_DETECTRON2=lite" in told and not stderr


@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        ("from PIL import nope", "cannot be imported: No module named 'PIL'"),
        ("raise RuntimeError('operator torchvision::nms does not exist')", "torchvision::nms"),
        (GOOD.replace("precision", "x"), "too old: AMPTrainer has no precision"),
        (GOOD.replace("after_backward", "x"), "too old: HookBase has no after_backward"),
    ],
)
def test_an_unusable_one_is_passed_over(imitate: Path, engine: str, reason: str) -> None:
    (imitate / "detectron2" / "engine.py").write_text(engine)
    told, version, _, stderr = report(imitate)
    assert version == "0.6+lite True" and reason in told
    assert told in stderr  # one warning, also where nobody has set up logging

    done = python("import dvis_daq", imitate, forced="real")
    assert done.returncode == 1
    assert "ImportError: DVIS_DAQ_DETECTRON2=real, but" in done.stderr and reason in done.stderr


def test_a_folder_that_is_no_package_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "detectron2").mkdir()
    assert report(tmp_path)[1] == "0.6+lite True"


def test_real_can_be_demanded(imitate: Path) -> None:
    assert report(imitate, forced="real")[1] == "0.6 False"
    done = python("import dvis_daq", forced="real")
    assert "ImportError: DVIS_DAQ_DETECTRON2=real, but no Detectron2 is on the" in done.stderr
    done = python("import dvis_daq", forced="maybe")
    assert "ValueError: DVIS_DAQ_DETECTRON2 is 'maybe'; set it to 'real' or 'lite'" in done.stderr


def test_too_late_to_choose(imitate: Path) -> None:
    done = python("import detectron2, dvis_daq", imitate, forced="lite")
    assert "Import dvis_daq before detectron2." in done.stderr


@pytest.mark.parametrize(
    ("torch", "torchvision", "fits"),
    [
        ("2.13.0", "0.28.0", True),
        ("2.13.0+cpu", "0.28.0+cpu", True),
        ("2.13.0+cpu", "0.28.0", False),
        ("2.13.0+cpu", "0.28.0+cu130", False),
        ("2.13.0+cpu", "", True),
    ],
)
def test_pair_of_wheels(torch: str, torchvision: str, fits: bool) -> None:
    problem = torchvision_problem(torch, torchvision)
    assert (problem == "") is fits
    if not fits:
        assert torch in problem and torchvision in problem and "pip install" in problem


def test_the_installed_pair_fits() -> None:
    assert torchvision_problem() == ""
