"""Whole videos against the release, in float64; training steps are in `test_train_golden.py`.

`python -m tests.parity.golden FOLDER` prints the same comparison as a table.
"""

from pathlib import Path

import pytest
import torch

from tests.parity.golden.cases import Case, load_cases
from tests.parity.golden.run import PRODUCERS, verdicts

# The long clip takes a minute; the command runs it.
VIDEOS = [
    name
    for name in PRODUCERS
    if name.startswith(("online_", "offline_", "minvis_", "ctvis_", "dvis_plus_"))
    and name != "online_ovis_r50_14f"
]


@pytest.fixture(scope="module")
def cases(reference_dir: Path) -> dict[str, Case]:
    return {case.name: case for case in load_cases(reference_dir)}


@pytest.mark.parametrize("name", VIDEOS)
def test_case_equals_the_release(name: str, cases: dict[str, Case]) -> None:
    assert [row for row in verdicts(cases[name], torch.float64) if not row.ok] == []
