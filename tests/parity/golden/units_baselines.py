"""Parts of DVIS++ and CTVIS on small stored inputs: `units_baselines.npz`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dvis_daq.structures import ClipTargets, FrameOutputs, Predictions
from dvis_daq.tracker.referring import ReferringStep, ReferringTracker, raw_candidates
from dvis_daq.tracker.state import EndlessLife, TrackState, advance
from dvis_daq.training.contrastive import contrastive_losses
from dvis_daq.training.losses import LossWeights
from dvis_daq.training.matching import match_first_appearance
from dvis_daq.training.noise import MIXES, Mix
from dvis_daq.training.objectives.contrastive import ContrastiveObjective
from tests.parity.golden.cases import Arrays, Case
from tests.parity.golden.referring import FixedNoise, items_of
from tests.parity.golden.training import LatticePoints
from tests.parity.golden.units_refiner import refined, tiny_refiner

SIZES = {"hidden_dim": 32, "mask_dim": 16, "num_classes": 25}


@torch.no_grad()
def units_baselines(case: Case, dtype: torch.dtype) -> Arrays:
    """Every part; the names of the arrays begin with the part."""
    arrays: Arrays = {}
    for part in (_trackers, _refiner, _contrastive, _first_appearance):
        arrays |= part(case, dtype)
    return arrays


def _trackers(case: Case, dtype: torch.dtype) -> Arrays:
    """In two windows, and in training with both kinds of noise."""
    inputs = ("tracker/embeds", "tracker/embeds_no_norm", "tracker/mask_features")
    frames = _frames(*(case.tensor(name, dtype) for name in inputs))
    tracker = ReferringTracker(layers=2, heads=4, feedforward_dim=64, **SIZES)
    case.fill(tracker, "tracker.", dtype)
    first, state = _run(tracker, frames[:4])
    second, _ = _run(tracker, frames[4:], state)
    said = {"tracker_eval": _said(first + second)}
    for mode in ("rs", "wa"):
        steps, _ = _run(tracker.train(), frames, mix=MIXES[mode])
        said[f"tracker_{mode}"] = _said(steps) | _first_layer(steps)
    return case.inputs(*inputs) | {
        f"{part}/{name}": value.numpy()
        for part, values in said.items()
        for name, value in values.items()
    }


def _frames(embeds: Tensor, raw: Tensor, features: Tensor) -> FrameOutputs:
    """T frames of Q candidates; what the tracker does not read is zero."""
    time, candidates, width = embeds.shape
    return FrameOutputs(
        embeds=embeds,
        logits=embeds.new_zeros(time, candidates, SIZES["num_classes"] + 1),
        masks=embeds.new_zeros(time, candidates, *features.shape[2:]),
        mask_features=features,
        initial_queries=embeds.new_zeros(candidates, width),
        raw_embeds=raw,
    )


def _run(
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


def _said(steps: list[ReferringStep]) -> dict[str, Tensor]:
    return {
        "align_query": torch.stack([step.candidates for step in steps]),
        "logits": torch.stack([step.tracked.logits[-1] for step in steps]),
        "masks": torch.cat([step.tracked.masks[-1] for step in steps], dim=1),
        "embeds": torch.stack([step.queries for step in steps]),
        "references": torch.stack([step.references for step in steps]),
    }


def _first_layer(steps: list[ReferringStep]) -> dict[str, Tensor]:
    return {
        "aux0_logits": torch.stack([step.tracked.logits[0] for step in steps]),
        "aux0_masks": torch.cat([step.tracked.masks[0] for step in steps], dim=1),
    }


def _refiner(case: Case, dtype: torch.dtype) -> Arrays:
    names = ("refiner/instance_embeds", "refiner/frame_embeds", "tracker/mask_features")
    inputs = [case.tensor(name, dtype) for name in names]
    refiner = tiny_refiner(case, dtype, local_conv=True, **SIZES)
    said = refined(refiner, *inputs, first_layer="train_aux0")
    said["embeds"] = refiner.head.norm(refiner(*inputs[:2])[-1])
    return case.inputs(*names) | {f"refiner/{name}": value.numpy() for name, value in said.items()}


def _contrastive(case: Case, dtype: torch.dtype) -> Arrays:
    """The items of CTVIS, with either kind of positive throughout."""
    arrays = case.inputs("ctvis/reid_embeds", "ctvis/object_query", "ctvis/visible")
    reid = case.tensor("ctvis/reid_embeds", dtype)
    query, visible = case.tensor("ctvis/object_query", torch.int64), case.tensor("ctvis/visible")
    for choice, kind in enumerate(("momentum", "last")):
        objective = ContrastiveObjective(
            choice=lambda n, choice=choice: choice,
            num_negatives=reid.shape[1] - 1,
            released_first_items=True,
        )
        items = objective.items(reid, query, visible)
        arrays |= {f"ctvis/{kind}_{name}": value for name, value in items_of(items).items()}
        means = contrastive_losses(items, embeddings=[reid])
        arrays[f"ctvis/{kind}_losses"] = torch.stack(means).numpy()
    return arrays


def _first_appearance(case: Case, dtype: torch.dtype) -> Arrays:
    part = "first_appearance"
    logits, masks = (case.tensor(f"{part}/{name}", dtype) for name in ("logits", "masks"))
    truth, ids, labels = (case.tensor(f"{part}/{name}") for name in ("targets", "ids", "labels"))
    frames = [
        Predictions(said[None], shown[None, :, None])
        for said, shown in zip(logits, masks, strict=True)
    ]
    targets = ClipTargets(labels.long(), truth, ids.amax(1).long())
    points = LatticePoints(num_points=256, grid_points=case.recipe.grid_points)
    [found] = match_first_appearance(frames, targets, weights=LossWeights(), points=points)
    inputs = (f"{part}/{name}" for name in ("logits", "masks", "targets", "labels"))
    return case.inputs(*inputs) | {
        # Who is visible decides who appears.
        f"{part}/ids": np.where(targets.visible, targets.ids[:, None], -1),
        f"{part}/match_query": found.query.numpy(),
        f"{part}/match_target": found.target.numpy(),
    }
