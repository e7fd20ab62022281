"""A whole training step against the released one: decisions, losses and gradients.

In float64, with fixed points and choices; and once with random points, as a statistical check.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dvis_daq.training.objectives import Clip
from tests.parity.golden.cases import Case, load_cases
from tests.parity.golden.run import PRODUCERS, verdicts

STEPS = [name for name in PRODUCERS if name.startswith("train_")]


@pytest.fixture(scope="module")
def cases(reference_dir: Path) -> dict[str, Case]:
    return {case.name: case for case in load_cases(reference_dir)}


@pytest.mark.parametrize("name", STEPS)
def test_step_equals_the_release(name: str, cases: dict[str, Case]) -> None:
    assert [verdict for verdict in verdicts(cases[name], torch.float64) if not verdict.ok] == []


def test_random_points_give_losses_like_the_release(cases: dict[str, Case]) -> None:
    """One float32 run with sampled points lies within 4 standard deviations of ten recorded."""
    case = cases["train_stage3_random"]
    model = case.model(torch.float32).train()
    model.objective = replace(model.objective, aliased_disappearance=True)
    frames = case.entry["frames"]
    clip = Clip(case.images(torch.float32, frames), case.targets(frames))
    with torch.no_grad():
        losses = model.objective(model, [clip], case.entry["iteration"])
    names, runs = case.arrays["loss_names"].tolist(), case.arrays["loss_values"]
    assert sorted(losses) == sorted(names)
    values = np.array([losses[name].item() for name in names])
    spread = 4 * runs.std(0, ddof=1) + 1e-3
    np.testing.assert_array_less(np.abs(values - runs.mean(0)), spread)
