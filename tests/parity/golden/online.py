"""Whole videos through an online model: `online_*.npz`."""

from __future__ import annotations

import numpy as np
import torch

from dvis_daq.model import TrackedFrame
from dvis_daq.tasks.vis import decode
from tests.parity.golden.cases import Arrays, Case


def online(case: Case, dtype: torch.dtype) -> Arrays:
    """Everything that is recorded of a video, under the recorded names."""
    model = case.model(dtype)
    images = case.images(dtype)
    frames = list(model.frames(images))
    height, width = case.entry["output_size"]
    [result] = model([{"images": images, "height": height, "width": width}])
    step = int(case.arrays.get("query_masks_step", 1))
    return rows(frames, step) | tracks(frames) | objects(frames) | result_of(result, height, width)


def rows(frames: list[TrackedFrame], every: int) -> Arrays:
    masks = torch.cat([done.step.tracked.masks[-1, :, 0] for done in frames])
    second = [done.step for done in frames[1:]]
    return {
        "query_logits": _cat([done.step.tracked.logits[-1] for done in frames]),
        "query_count": np.array([len(done.step.tracked) for done in frames]),
        "query_mask_area": (masks > 0).sum((1, 2)).numpy(),
        "query_masks_sub": masks[::every].numpy(),
        "query_masks_step": np.array(every),
        "query_embeds_sub": _cat([done.step.queries for done in frames])[::every],
        "slot_logits": _cat([step.disappearing.logits[-1] for step in second]),
        "slot_count": np.array([len(step.disappearing) for step in second]),
        "slot_match": _cat([step.anchors for step in second]),
    }


def tracks(frames: list[TrackedFrame]) -> Arrays:
    return {
        "kept_objects": _cat([done.state.ids for done in frames]),
        "kept_count": np.array([len(done.state) for done in frames]),
        "kept_visible": _cat([done.seen[done.rows] for done in frames]),
        "kept_pos_embed": _cat([done.state.appearance.mean for done in frames]),
    }


def objects(frames: list[TrackedFrame]) -> Arrays:
    """Per object: first frame, frames stored, accepted or not in each, and how it ended."""
    total = frames[-1].state.next_id
    visible: list[list[bool]] = [[] for _ in range(total)]
    start = np.full(total, -1)
    for t, done in enumerate(frames):
        flags = done.seen[done.rows].tolist()
        for track, flag in zip(done.state.ids.tolist(), flags, strict=True):
            visible[track].append(flag)
            start[track] = t if start[track] < 0 else start[track]
    alive = set(frames[-1].state.ids.tolist())
    dead = np.array([track not in alive for track in range(total)])
    missed = dict(zip(frames[-1].state.ids.tolist(), frames[-1].state.missed.tolist(), strict=True))
    # The frame in which a track ends is not stored.
    trailing = [_trailing_misses(flags) + 1 for flags in visible]
    return {
        "object_start": start,
        "object_length": np.array([len(flags) for flags in visible]),
        "object_visible": np.concatenate([np.array(flags, dtype=bool) for flags in visible]),
        "object_dead": dead,
        "object_invalid": np.array([missed.get(track, trailing[track]) for track in range(total)]),
    }


def _trailing_misses(flags: list[bool]) -> int:
    return next((n for n, flag in enumerate(reversed(flags)) if flag), len(flags))


def result_of(result: dict, height: int, width: int) -> Arrays:
    if result["task"] == "vps":
        segments = result["segments"]
        return {
            "panoptic": result["panoptic"].numpy(),
            "segment_id": np.array([segment["id"] for segment in segments]),
            "segment_isthing": np.array([segment["isthing"] for segment in segments]),
            "segment_category": np.array([segment["category_id"] for segment in segments]),
            "segment_object": np.array([segment["track"] for segment in segments]),
        }
    if result["task"] == "vss":
        return {"semantic": result["semantic"].numpy()}
    masks = np.stack([decode(track, (height, width)) for track in result["masks"]])
    return {
        "final_scores": result["scores"].numpy(),
        "final_labels": result["labels"].numpy(),
        "final_ids": result["ids"].numpy(),
        "final_masks_packed": np.packbits(masks.reshape(-1)),
        "final_masks_shape": np.array(masks.shape),
    }


def _cat(tensors: list[torch.Tensor]) -> np.ndarray:
    return torch.cat(tensors).numpy()


def in_score_order(arrays: Arrays) -> Arrays:
    """The recorded results come from an unsorted top-k: sorts them by falling score."""
    for kind in ("final", "vis"):
        if f"{kind}_scores" in arrays:
            arrays = arrays | _sorted_result(kind, arrays)
    return arrays


def _sorted_result(kind: str, arrays: Arrays) -> Arrays:
    scores, labels, ids, packed = (
        f"{kind}_{name}" for name in ("scores", "labels", "ids", "masks_packed")
    )
    order = np.argsort(-arrays[scores], kind="stable")
    shape = tuple(arrays[f"{kind}_masks_shape"])
    masks = np.unpackbits(arrays[packed], count=int(np.prod(shape))).reshape(shape)
    return {name: arrays[name][order] for name in (scores, labels, ids)} | {
        packed: np.packbits(masks[order].reshape(-1))
    }
