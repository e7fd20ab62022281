"""DVIS++ online: `dvis_plus_online_*`, `train_dvis_plus_online_*`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from dvis_daq.structures import ClipTargets
from dvis_daq.training.contrastive import ContrastiveItem, item_losses
from dvis_daq.training.noise import NoiseSource, QueryNoise
from dvis_daq.training.objectives import Clip, referring
from tests.parity.golden.cases import Arrays, Case
from tests.parity.golden.online import result_of
from tests.parity.golden.training import golden_model, gradients_of, losses_of, recorded

REFERENCES_EVERY = 6  # rows of the recorded references of a training step


class FixedNoise(NoiseSource):
    """The randomness of the recorded runs."""

    def permutation(self, n: int) -> Tensor:
        return (torch.arange(n) + 3) % n

    def shares(self, n: int) -> Tensor:
        return (torch.arange(n, dtype=torch.float64) + 0.5) / n


def referring_online(case: Case, dtype: torch.dtype) -> Arrays:
    """Everything that is recorded of a video, under the recorded names."""
    model = case.model(dtype)
    images = case.images(dtype)
    steps = [done.step for done in model.frames(images)]
    height, width = case.entry["output_size"]
    [result] = model([{"images": images, "height": height, "width": width}])
    every = int(case.arrays["sub_step"])
    masks = torch.cat([step.tracked.masks[-1] for step in steps], dim=1)  # (Q, T, h, w)
    return said(steps) | {
        "sub_step": np.array(every),
        "track_masks_sub": masks[::every].numpy(),
        "track_embeds_sub": torch.stack([step.queries[::every] for step in steps]).numpy(),
        "references_sub": _references(steps, every),
        "mean_logits": torch.stack([step.tracked.logits[-1] for step in steps]).mean(0).numpy(),
        **result_of(result, height, width),
    }


def referring_step(case: Case, dtype: torch.dtype) -> Arrays:
    """Losses, decisions, contrastive items and gradients of a step of `ReferringObjective`."""
    model = golden_model(case, dtype)
    if model.objective.noise is not None:
        noise = QueryNoise(model.objective.noise.mix, 1.0, FixedNoise())
        model.objective = replace(model.objective, noise=noise)
    frames = case.entry["frames"]
    clip = Clip(case.images(dtype, frames), case.targets(frames))
    with (
        recorded(model.tracker, "step") as stepping,
        recorded(referring, "match_first_appearance") as matching,
        recorded(referring, "contrastive_losses") as contrasting,
        recorded(model.segmenter, "forward") as segmenting,
    ):
        losses = model.objective(model, [clip], case.entry["iteration"])
    steps = [call.result for call in stepping]
    [segmented] = [call.result for call in segmenting]
    [((_, targets), matches)] = matching
    [((items,), _)] = contrasting
    arrays = said(steps) | {
        "references_sub": _references(steps, REFERENCES_EVERY),
        "aligned_segmenter_logits": torch.stack(
            [segmented.logits[t, step.candidates] for t, step in enumerate(steps)]
        ).numpy(),
        "target_labels": targets.labels.numpy(),
        "target_ids": ids_where_visible(targets).T,
        **items_of(items),
    }
    for n, of_layer in enumerate([matches[-1], *matches[:-1]]):  # recorded: the final layer first
        arrays[f"match_query_{n}"] = of_layer.query.numpy()
        arrays[f"match_target_{n}"] = of_layer.target.numpy()
    return arrays | losses_of(losses) | gradients_of(case, model, losses)


def said(steps: list[referring.ReferringStep]) -> Arrays:
    areas = [(step.tracked.masks[-1, :, 0] > 0).sum((1, 2)) for step in steps]
    return {
        "align_query": torch.stack([step.candidates for step in steps]).numpy(),
        "track_logits": torch.stack([step.tracked.logits[-1] for step in steps]).detach().numpy(),
        "track_mask_area": torch.stack(areas).numpy(),
    }


def ids_where_visible(targets: ClipTargets) -> np.ndarray:
    """(G, T) id, -1 where an object is absent."""
    return torch.where(targets.visible, targets.ids[:, None], -1).numpy()


def items_of(items: list[ContrastiveItem], suffix: str = "") -> Arrays:
    losses = item_losses(items)
    return {
        f"item_contrastive{suffix}": losses.contrastive.detach().numpy(),
        f"item_auxiliary{suffix}": losses.auxiliary.detach().numpy(),
        f"item_positives_negatives{suffix}": np.array(
            [(len(item.positives), len(item.negatives)) for item in items]
        ),
    }


def _references(steps: list[referring.ReferringStep], every: int) -> np.ndarray:
    return torch.stack([step.references[::every] for step in steps]).detach().numpy()
