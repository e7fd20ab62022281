"""Whole videos and training clips through an offline model: `offline_*`, `train_offline_*`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from dvis_daq.refiner import SequenceBank, TrackSequences
from dvis_daq.tracker.loop import track
from dvis_daq.tracker.state import mean_of_both
from dvis_daq.training.objectives import Clip, refiner
from tests.parity.golden.cases import Arrays, Case
from tests.parity.golden.online import objects, result_of, rows
from tests.parity.golden.training import golden_model, gradients_of, losses_of, recorded

# Arrays with one row a sequence, which come from an unsorted top-k
BY_SEQUENCE = (
    "selected_objects", "online_logits", "online_mask_area", "instance_embeds", "padding_masks",
    "refined_logits", "refined_embeds", "refined_masks_frame0", "refined_mask_area",
)  # fmt: skip


def offline(case: Case, dtype: torch.dtype) -> Arrays:
    """Everything that is recorded of a video, under the recorded names."""
    model = case.model(dtype)
    images = case.images(dtype)
    frames = list(model.frames(images))
    bank = SequenceBank(model.sequences, keep_masks=True)
    for done in frames:
        bank.add(done.state, done.step, done.rows, done.frame)
    tracks = bank.sequences()
    features = torch.cat([done.frame.mask_features for done in frames])
    with torch.no_grad():
        refined = model.refiner(tracks.queries.transpose(0, 1), bank.candidates)
        masks = model.refiner.masks(refined, features)[0]
        logits = model.refiner.classify(refined)[0]
    height, width = case.entry["output_size"]
    [delivered] = model([{"images": images, "height": height, "width": width}])
    every = int(case.arrays.get("query_masks_step", 1))
    return (
        rows(frames, every)
        | {
            "kept_objects": torch.cat([done.state.ids for done in frames]).numpy(),
            "kept_count": np.array([len(done.state) for done in frames]),
        }
        | objects(frames)
        | _sequences(tracks, frames[-1].state.next_id)
        | {
            "refined_logits": logits.numpy(),
            "refined_embeds": refined[0].transpose(0, 1).numpy(),
            "refined_masks_frame0": masks[:, 0].numpy(),
            "refined_mask_area": (masks > 0).sum((2, 3)).numpy(),
        }
        | result_of(delivered, height, width)
    )


def offline_step(case: Case, dtype: torch.dtype) -> Arrays:
    """Losses, matchings and gradients of a step of `RefinerObjective`."""
    model = golden_model(case, dtype)
    life = replace(model.objective.life, accept=mean_of_both)  # as released
    model.objective = replace(model.objective, life=life)
    frames = case.entry["frames"]
    clip = Clip(case.images(dtype, frames), case.targets(frames))
    with (
        recorded(refiner, "match_clip") as matching,
        recorded(refiner.RefinerObjective, "tracks") as collecting,
        recorded(model.refiner, "predict") as predicting,
    ):
        losses = model.objective(model, [clip], case.entry["iteration"])
    [tracks], [matches] = ([call.result for call in calls] for calls in (collecting, matching))
    with torch.no_grad():
        segmented = model.segmenter(clip.images)
        done = list(track(model.tracker, life, segmented))
    arrays = objects(done) | {
        "instance_embeds": tracks.queries.numpy(),
        "refined_logits": predicting[0].result.logits[-1].detach().numpy(),
    }
    for n, of_layer in enumerate([matches[-1], *matches[:-1]]):  # recorded: the final layer first
        arrays[f"match_query_{n}"] = of_layer.query.numpy()
        arrays[f"match_target_{n}"] = of_layer.target.numpy()
    return arrays | losses_of(losses) | gradients_of(case, model, losses)


def _sequences(tracks: TrackSequences, num_tracks: int) -> Arrays:
    ids = tracks.ids.numpy()
    return {
        "sequence_ids": ids,
        "selected_objects": np.where(ids < num_tracks, ids, -1),
        "online_logits": tracks.logits.numpy(),
        "online_mask_area": (tracks.masks > 0).sum((2, 3)).numpy(),
        "instance_embeds": tracks.queries.numpy(),
        "padding_masks": tracks.padded.numpy(),
    }


def in_our_order(recorded: Arrays, ours: Arrays) -> Arrays:
    """The recorded sequences come from an unsorted top-k: puts them in the order of ours."""
    if "instance_embeds" not in recorded:
        return recorded
    theirs, mine = (arrays["instance_embeds"].reshape(len(arrays["instance_embeds"]), -1)
                    for arrays in (recorded, ours))  # fmt: skip
    _, order = linear_sum_assignment(cdist(mine, theirs))
    place = np.argsort(order)  # of a recorded sequence among ours
    moved = {name: recorded[name][order] for name in BY_SEQUENCE if name in recorded}
    if "final_ids" in recorded:
        moved["final_ids"] = ours["sequence_ids"][place[recorded["final_ids"]]]
    for name in recorded:
        if name.startswith("match_query_"):
            target = name.replace("query", "target")
            rows = place[recorded[name]]
            by_row = np.argsort(rows)
            moved |= {name: rows[by_row], target: recorded[target][by_row]}
    return recorded | moved
