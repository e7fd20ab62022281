"""DVIS++ offline: `dvis_plus_offline_*`, `train_dvis_plus_offline_*`."""

from __future__ import annotations

from dataclasses import replace

import torch

from dvis_daq.refiner import SequenceBank
from dvis_daq.training import class_memory
from dvis_daq.training.class_memory import ClassMemory, TrackContrast
from dvis_daq.training.objectives import Clip, refiner
from tests.parity.golden.cases import Arrays, Case
from tests.parity.golden.online import result_of
from tests.parity.golden.referring import FixedNoise, ids_where_visible, items_of
from tests.parity.golden.training import golden_model, gradients_of, losses_of, recorded

SUB_STEP = 6  # rows of the recorded memory


def referring_offline(case: Case, dtype: torch.dtype) -> Arrays:
    """Everything that is recorded of a video, under the recorded names."""
    model = case.model(dtype)
    images = case.images(dtype)
    frames = list(model.frames(images))
    bank = SequenceBank(model.sequences)
    for done in frames:
        bank.add(done.state, done.step, done.rows, done.frame)
    tracks = bank.sequences()
    features = torch.cat([done.frame.mask_features for done in frames])
    with torch.no_grad():
        refined = model.refiner(tracks.queries.transpose(0, 1), bank.candidates)
        masks = model.refiner.masks(refined, features)[0]
        logits = model.refiner.classify(refined)[0]
        normed = model.refiner.head.norm(refined[0])
    height, width = case.entry["output_size"]
    model.mask_dtype = None  # one pixel lies on a boundary, which float32 does not resolve
    [result] = model([{"images": images, "height": height, "width": width}])
    return {
        "align_query": torch.stack([done.step.candidates for done in frames]).numpy(),
        "instance_embeds": tracks.queries.transpose(0, 1).numpy(),
        "frame_embeds_sub": bank.candidates[:, ::SUB_STEP].numpy(),
        "online_mean_logits": tracks.logits.numpy(),
        "refined_logits": logits.numpy(),
        "refined_embeds": normed.numpy(),
        "refined_masks_frame0": masks[:, 0].numpy(),
        "refined_mask_area": (masks > 0).sum((2, 3)).numpy(),
        **result_of(result, height, width),
    }


def referring_offline_step(case: Case, dtype: torch.dtype) -> Arrays:
    """One step of `RefinerObjective`, or two in a row where a class memory is kept."""
    model = golden_model(case, dtype)
    calls = 1
    if model.objective.contrast is not None:
        memory = ClassMemory(permutation=FixedNoise().permutation)
        model.objective = replace(model.objective, contrast=TrackContrast(memory=memory))
        calls = 2
    frames = case.entry["frames"]
    clip = Clip(case.images(dtype, frames), case.targets(frames))
    arrays: Arrays = {}
    for call in range(1, calls + 1):
        with (
            recorded(refiner, "match_clip") as matching,
            recorded(refiner.RefinerObjective, "tracks") as collecting,
            recorded(model.refiner, "predict") as predicting,
            recorded(class_memory, "contrastive_losses") as contrasting,
        ):
            losses = model.objective(model, [clip], case.entry["iteration"])
        [((_, targets), matches)] = matching
        layers = [matches[-1], *matches[:-1]]  # recorded: the final layer first
        for n, of_layer in enumerate(layers, start=call - 1):
            arrays[f"match_query_{n}"] = of_layer.query.numpy()
            arrays[f"match_target_{n}"] = of_layer.target.numpy()
        for (items,), _ in contrasting:
            arrays |= items_of(items, suffix=f"_call{call}")
        values = losses_of(losses)
        arrays[f"loss_values_call{call}"] = values["loss_values"]
    arrays |= values | {"loss_values": arrays["loss_values_call1"]}
    [tracks] = [call.result for call in collecting]
    predicted = predicting[0].result
    recorded_rows = case.arrays["instance_embeds"].shape[1]
    every = 1 if recorded_rows == len(tracks) else SUB_STEP
    return arrays | {
        "instance_embeds": tracks.queries.transpose(0, 1)[:, ::every].numpy(),
        "refined_logits": predicted.logits[-1].detach().numpy(),
        "refined_mask_area": (predicted.masks[-1] > 0).sum((2, 3)).numpy(),
        "target_labels": targets.labels.numpy(),
        "target_ids": ids_where_visible(targets),
        **gradients_of(case, model, losses),
    }
