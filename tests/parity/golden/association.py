"""Segmenters and their association by similarity: `minvis_*`, `ctvis_*`, `train_ctvis`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from dvis_daq.training.contrastive import contrastive_losses
from dvis_daq.training.objectives import Clip, contrastive, frame
from tests.parity.golden.cases import Arrays, Case
from tests.parity.golden.online import result_of
from tests.parity.golden.referring import items_of
from tests.parity.golden.training import (
    golden_model,
    gradients_of,
    losses_of,
    pairs_of,
    recorded,
)


def chains(case: Case, dtype: torch.dtype) -> Arrays:
    """A whole video: which candidate continues which chain, and the result."""
    model = case.model(dtype)
    images = case.images(dtype)
    frames = list(model.frames(images))
    height, width = case.entry["output_size"]
    [delivered] = model([{"images": images, "height": height, "width": width}])
    order = [
        torch.cdist(done.step.queries, model.tracker.embedding(done.frame)[0]).argmin(1)
        for done in frames
    ]
    logits = torch.stack([done.step.tracked.logits[-1] for done in frames])
    arrays = {
        "frame_logits": torch.cat([done.frame.logits for done in frames]).numpy(),
        "association": torch.stack(order).numpy(),
        "mean_logits": logits.mean(0).numpy(),
        "chain_mask_area": torch.stack(
            [(done.step.tracked.masks[-1, :, 0] > 0).sum((1, 2)) for done in frames], dim=1
        ).numpy(),
    }
    if frames[0].frame.reid is not None:
        arrays["reid_embeds"] = torch.cat([done.frame.reid for done in frames]).numpy()
    return arrays | result_of(delivered, height, width)


def contrastive_step(case: Case, dtype: torch.dtype) -> Arrays:
    """Losses, items and gradients of a step of `ContrastiveObjective`, for both positives."""
    model = golden_model(case, dtype)
    objective = replace(model.objective, released_first_items=True)
    frames = case.entry["frames"]
    clip = Clip(case.images(dtype, frames), case.targets(frames))
    model.objective = replace(objective, choice=lambda n: 0)  # always the momentum embedding
    with (
        recorded(contrastive, "match_clips") as matching,
        recorded(frame, "match_clips") as frame_matching,
        recorded(model.segmenter, "forward") as segmenting,
    ):
        losses = model.objective(model, [clip], 0)
    outputs, targets = segmenting[0].result, case.targets(frames)
    query = torch.stack([pairs[0].query[pairs[0].target.argsort()] for pairs in matching[0].result])
    visible = targets.visible
    arrays = {
        "reid_embeds": outputs.reid.detach().numpy(),
        "frame_logits": outputs.logits.detach().numpy(),
        "target_labels": targets.labels.numpy(),
        "target_ids": torch.where(visible.T, targets.ids, -1).numpy(),
        **pairs_of("frame_match", [pairs[-1] for pairs in matching[0].result]),
        **pairs_of("match_0", [pairs[-1] for pairs in frame_matching[0].result]),
        **items_of(model.objective.items(outputs.reid, query, visible)),
        **losses_of(losses),
        **gradients_of(case, model, losses),
    }
    latest = replace(objective, choice=lambda n: 1)
    items = latest.items(outputs.reid.detach(), query, visible)
    named = contrastive_losses(items, embeddings=[]).named(latest.weight, latest.auxiliary_weight)
    return (
        arrays
        | items_of(items, "_last")
        | {f"{name}_last": np.array(value.item()) for name, value in named.items()}
        | {"grad_norm_reid_last": _head_gradient(model, clip, latest)}
    )


def _head_gradient(model: torch.nn.Module, clip: Clip, objective: contrastive.ContrastiveObjective):
    """Norm of the gradient of all losses at the last weight of the re-id head."""
    model.zero_grad()
    sum(objective(model, [clip], 0).values()).backward()
    return np.array(model.segmenter.sem_seg_head.predictor.reid_embed.layers[2].weight.grad.norm())
