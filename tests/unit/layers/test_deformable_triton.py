import os
import subprocess
import sys

import pytest
import torch

from tests.conftest import ROOT

pytest.importorskip("triton")
CHECK = [sys.executable, "-m", "tests.unit.layers.triton_check"]


def test_equals_pytorch_in_the_interpreter():
    """Values and gradients in float32, bfloat16 and float16; a process of its own, because
    Triton decides at its import whether it interprets."""
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [*CHECK, "cpu"], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert "equal" in done.stdout


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_equals_pytorch_on_a_gpu():
    done = subprocess.run([*CHECK, "cuda"], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "equal" in done.stdout
