"""Tracker, refiner and matching of DVIS++ against the small golden arrays, in float64."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dvis_daq.checkpoint import to_official
from dvis_daq.refiner import TemporalRefiner
from dvis_daq.structures import ClipTargets, FrameOutputs, Predictions
from dvis_daq.tracker.referring import ReferringStep, ReferringTracker, raw_candidates
from dvis_daq.tracker.state import EndlessLife, TrackState, advance
from dvis_daq.training.losses import LossWeights
from dvis_daq.training.matching import match_first_appearance
from dvis_daq.training.noise import MIXES, Mix
from tests.parity.golden.cases import Arrays, Case, load_cases
from tests.parity.golden.referring import FixedNoise
from tests.parity.golden.training import LatticePoints

TOLERANCE = 1e-5
SIZES = {
    "hidden_dim": 32, "mask_dim": 16, "num_classes": 25, "layers": 2, "heads": 4, "feedforward_dim": 64,
}  # fmt: skip
Module = TypeVar("Module", bound=nn.Module)


@pytest.fixture(scope="module")
def case(reference_dir: Path) -> Case:
    [case] = [case for case in load_cases(reference_dir) if case.name == "units_baselines"]
    return case


@pytest.fixture(scope="module")
def units(case: Case) -> Arrays:
    return case.arrays


@pytest.fixture(scope="module")
def frames(units: Arrays) -> FrameOutputs:
    """Six frames of nine candidates; what the tracker does not read is zero."""
    embeds, raw, features = (
        torch.from_numpy(units[f"tracker/{name}"]).double()
        for name in ("embeds", "embeds_no_norm", "mask_features")
    )
    time, candidates, width = embeds.shape
    return FrameOutputs(
        embeds=embeds,
        logits=embeds.new_zeros(time, candidates, 26),
        masks=embeds.new_zeros(time, candidates, *features.shape[2:]),
        mask_features=features,
        initial_queries=embeds.new_zeros(candidates, width),
        raw_embeds=raw,
    )


def fill(module: Module, prefix: str, case: Case) -> Module:
    """`module`, which lies at `prefix` in our models, with the weights of the recipe."""
    for name, value in module.double().state_dict().items():
        [official] = to_official({f"{prefix}.{name}": value})
        weight = case.recipe.fill_tensor(official, tuple(value.shape), case.entry["weight_seed"])
        value.copy_(torch.from_numpy(weight))
    return module.eval()


def run(
    tracker: ReferringTracker,
    frames: FrameOutputs,
    state: TrackState | None = None,
    mix: Mix | None = None,
) -> tuple[list[ReferringStep], TrackState]:
    """Steps through frames, with noise in every frame after the first."""
    state, steps = state or tracker.start(), []
    for frame in frames:
        start = None
        if mix is not None and state.frame > 0:
            start = mix(raw_candidates(frame)[0], FixedNoise())
        step = tracker.step(state, frame, start=start)
        seen = EndlessLife().seen(state, step, frame)
        state, _ = advance(state, step, seen, patience=1)
        steps.append(step)
    return steps, state


def check(units: Arrays, prefix: str, ours: dict[str, Tensor]) -> None:
    for name, value in ours.items():
        golden = units[f"{prefix}/{name}"]
        assert tuple(value.shape) == golden.shape, name
        found = value.detach().numpy().astype(np.float64)
        np.testing.assert_allclose(found, golden, atol=TOLERANCE, rtol=TOLERANCE, err_msg=name)


def said(steps: list[ReferringStep]) -> dict[str, Tensor]:
    return {
        "align_query": torch.stack([step.candidates for step in steps]),
        "logits": torch.stack([step.tracked.logits[-1] for step in steps]),
        "masks": torch.cat([step.tracked.masks[-1] for step in steps], dim=1),
        "embeds": torch.stack([step.queries for step in steps]),
        "references": torch.stack([step.references for step in steps]),
    }


def test_referring_tracker_in_two_windows(case: Case, units: Arrays, frames: FrameOutputs) -> None:
    tracker = fill(ReferringTracker(**SIZES), "tracker", case)
    first, state = run(tracker, frames[:4])
    second, _ = run(tracker, frames[4:], state)
    check(units, "tracker_eval", said(first + second))


@pytest.mark.parametrize("mode", ["rs", "wa"])
def test_referring_tracker_with_noise(
    mode: str, case: Case, units: Arrays, frames: FrameOutputs
) -> None:
    tracker = fill(ReferringTracker(**SIZES), "tracker", case).train()
    steps, _ = run(tracker, frames, mix=MIXES[mode])
    first_layer = {
        "aux0_logits": torch.stack([step.tracked.logits[0] for step in steps]),
        "aux0_masks": torch.cat([step.tracked.masks[0] for step in steps], dim=1),
    }
    check(units, f"tracker_{mode}", said(steps) | first_layer)


def test_refiner_with_convolution(case: Case, units: Arrays) -> None:
    refiner = fill(TemporalRefiner(**SIZES, local_conv=True), "refiner", case)
    tracks, candidates, features = (
        torch.from_numpy(units[name]).double()
        for name in ("refiner/instance_embeds", "refiner/frame_embeds", "tracker/mask_features")
    )
    layers = refiner.train()(tracks, candidates)
    trained = refiner.predict(layers, features)
    refined = refiner.eval()(tracks, candidates)
    predicted = refiner.predict(refined, features)
    time = len(tracks)
    check(units, "refiner", {
        "logits": predicted.logits.expand(time, -1, -1),
        "masks": predicted.masks[-1],
        "embeds": refiner.head.norm(refined[-1]),
        "train_aux0_logits": trained.logits[:1].expand(time, -1, -1),
        "train_aux0_masks": trained.masks[0],
    })  # fmt: skip


def test_first_appearance(case: Case, units: Arrays) -> None:
    logits, masks, truth, ids, labels = (
        torch.from_numpy(units[f"first_appearance/{name}"])
        for name in ("logits", "masks", "targets", "ids", "labels")
    )
    frames = [
        Predictions(said[None].double(), shown[None, :, None].double())
        for said, shown in zip(logits, masks, strict=True)
    ]
    assert torch.equal(truth.flatten(2).any(2), ids >= 0)  # what decides who appears
    targets = ClipTargets(labels.long(), truth, ids.amax(1).long())
    points = LatticePoints(num_points=256, grid_points=case.recipe.grid_points)
    [found] = match_first_appearance(frames, targets, weights=LossWeights(), points=points)
    assert found.query.tolist() == units["first_appearance/match_query"].tolist()
    assert found.target.tolist() == units["first_appearance/match_target"].tolist()
