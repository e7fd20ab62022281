"""One training step on fixed points and fixed choices: `train_stage*.npz`, `train_minvis.npz`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from dvis_daq.checkpoint import to_official
from dvis_daq.model import VideoModel
from dvis_daq.structures import Assignment
from dvis_daq.training.objectives import Clip, daq, frame
from dvis_daq.training.points import PointSampler
from dvis_daq.training.simulation import Choice, stage_at
from tests.parity.golden.cases import Arrays, Case


@dataclass(frozen=True)
class LatticePoints(PointSampler):
    """The point sets of the recorded runs: all masks share `grid_points` of the recipe."""

    grid_points: Callable[[int, int], np.ndarray] = None

    def uniform(self, sets: int, *, like: Tensor, frames: int = 1) -> Tensor:
        return torch.from_numpy(self.grid_points(sets, self.num_points * frames)).to(like)

    def uncertain(self, logits: Tensor, *, frames: int = 1) -> Tensor:
        return self.uniform(len(logits), like=logits, frames=frames)


class Middle(Choice):
    """The entry that the recorded runs hide."""

    def __call__(self, n: int) -> int:
        return n // 2


class Call(NamedTuple):
    args: tuple[Any, ...]
    result: Any


@contextmanager
def recorded(owner: object, name: str) -> Iterator[list[Call]]:
    """Lists the calls of `owner.name`, which goes on working."""
    function, calls = getattr(owner, name), []

    def wrapper(*args: Any, **options: Any) -> Any:
        result = function(*args, **options)
        calls.append(Call(args, result))
        return result

    with mock.patch.object(owner, name, wrapper):
        yield calls


def online_step(case: Case, dtype: torch.dtype) -> Arrays:
    """Losses, decisions and gradients of a step of `DAQObjective`."""
    model, iteration = golden_model(case, dtype), case.entry["iteration"]
    model.objective = replace(model.objective, aliased_disappearance=True, choice=Middle())
    stage = stage_at(model.objective.stages, iteration)
    frames = case.entry["frames"][: stage.frames]
    clip = Clip(case.images(dtype, frames), case.targets(frames))
    with (
        recorded(daq, "match_frames") as matching,
        recorded(daq, "hidden_candidates") as hiding,
        recorded(daq, "match_new") as matching_new,
        recorded(model.tracker, "step") as stepping,
    ):
        losses = model.objective(model, [clip], iteration)
    [(_, targets), matches] = matching[0]
    kept = [call.args[1] for call in hiding]
    pairs = [matches[0].assignment] + [call.result for call in matching_new]
    steps = [call.result for call in stepping]
    gone = [
        [g for g in before.target.tolist() if g not in match.assignment.target]
        for before, match in zip(kept, matches, strict=True)
    ]
    simulated = [[] if call.result is None else [call.result.target] for call in hiding]
    told_1 = [a + b if a else [] for a, b in zip(gone, simulated, strict=True)]
    told_2 = [a + b for a, b in zip(gone, simulated, strict=True)][1:]
    return {
        "stage": np.array(2 if stage.score is None else 3),
        "target_labels": targets.labels.numpy(),
        "target_valid": targets.visible.T.numpy(),
        "frame_aux_target": torch.stack([match.resembles for match in matches]).numpy(),
        "frame_valid": torch.stack([match.resembles >= 0 for match in matches]).numpy(),
        **pairs_of("frame_match", [match.assignment for match in matches]),
        **_rows("track", [step.tracked for step in steps]),
        **pairs_of("track_match", pairs),
        "track_mask_area": torch.cat(
            [(step.tracked.masks[-1] > 0).sum((1, 2, 3)) for step in steps]
        ).numpy(),
        **_rows("slot", [step.disappearing for step in steps[1:]]),
        **pairs_of("slot_match", kept[1:]),
        **_ragged("track_disappeared", told_1),
        **_ragged("slot_disappeared", told_2),
        **losses_of(losses),
        **gradients_of(case, model, losses),
    }


def frame_step(case: Case, dtype: torch.dtype) -> Arrays:
    """Losses, matchings and gradients of a step of `FrameObjective`."""
    model = golden_model(case, dtype)
    clips = [Clip(case.images(dtype, t), case.targets(t)) for t in case.entry["clips"]]
    with (
        recorded(frame, "match_clips") as matching,
        recorded(model.segmenter, "forward") as segmenting,
    ):
        losses = model.objective(model, clips, 0)
    [(images,), matches] = matching[0]
    layers = list(zip(*matches, strict=True))
    arrays = {
        "frame_logits": torch.cat([call.result.logits for call in segmenting]).detach().numpy(),
        "target_labels": torch.cat([targets.labels for _, targets in images]).numpy(),
    }
    for n, of_layer in enumerate([layers[-1], *layers[:-1]]):  # recorded: the final layer first
        arrays |= pairs_of(f"match_{n}", of_layer)
    return arrays | losses_of(losses) | gradients_of(case, model, losses)


def golden_model(case: Case, dtype: torch.dtype) -> VideoModel:
    model = case.model(dtype).train()
    points = LatticePoints(
        num_points=model.objective.points.num_points, grid_points=case.recipe.grid_points
    )
    model.objective = replace(model.objective, points=points)
    return model


def losses_of(losses: dict[str, Tensor]) -> Arrays:
    names = sorted(losses)
    return {
        "loss_names": np.array(names),
        "loss_values": np.array([losses[name].item() for name in names]),
    }


def gradients_of(case: Case, model: VideoModel, losses: dict[str, Tensor]) -> Arrays:
    """Norms of all trained parameters, and the few gradients that were recorded in full."""
    sum(losses.values()).backward()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    trained = dict(sorted(to_official(trained).items()))
    gradients = {name: p.grad for name, p in trained.items() if p.grad is not None}
    full = [name for name in case.arrays if name.startswith("grad:")]
    return {
        "grad_names": np.array(list(gradients)),
        "grad_norms": np.array([gradient.norm().item() for gradient in gradients.values()]),
        "no_grad_params": np.array([name for name in trained if name not in gradients]),
        **{name: gradients[name.removeprefix("grad:")].numpy() for name in full},
    }


def _rows(name: str, predictions: list[Any]) -> Arrays:
    return {
        f"{name}_logits": torch.cat([said.logits[-1] for said in predictions]).detach().numpy(),
        f"{name}_query_count": np.array([len(said) for said in predictions]),
    }


def pairs_of(name: str, pairs: list[Assignment]) -> Arrays:
    return {
        f"{name}_query": torch.cat([pair.query for pair in pairs]).numpy(),
        f"{name}_target": torch.cat([pair.target for pair in pairs]).numpy(),
        f"{name}_count": np.array([len(pair.query) for pair in pairs]),
    }


def _ragged(name: str, pieces: list[list[int]]) -> Arrays:
    return {
        name: np.array(sum(pieces, []), dtype=np.int64),
        f"{name}_count": np.array([len(piece) for piece in pieces]),
    }
