"""A tiny tracker through six frames, under three rules of acceptance: `units.npz`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dvis_daq.structures import FrameOutputs
from dvis_daq.tracker.bank import TrackBank
from dvis_daq.tracker.daq import DAQTracker
from dvis_daq.tracker.loop import TrackedFrame, track
from dvis_daq.tracker.state import Lifecycle, mean_of_both, tracker_1, tracker_1_and_2
from tests.parity.golden.cases import Arrays, Case
from tests.parity.golden.online import rows, tracks

RULES = {
    "tracker_ovis": tracker_1_and_2,
    "tracker_plain": tracker_1,
    "tracker_offline_training": mean_of_both,
}
INPUTS = ("frame_embeds", "mask_features", "pred_masks", "valid", "query_feat")
IDENTICAL = 1e-6  # largest difference between queries of tracks that differ by rounding


def trackers(case: Case, dtype: torch.dtype) -> Arrays:
    arrays = case.inputs(*(f"tracker/{name}" for name in INPUTS))
    tracker, frames = tiny_tracker(case, dtype), _frames(case, dtype)
    for variant, rule in RULES.items():
        life = Lifecycle(accept=rule, score=0.03, foreground_score=0.01)
        done = list(track(tracker, life, frames))
        of_variant = rows(done, 1) | tracks(done) | _objects(done) | _slot_groups(done)
        if variant == "tracker_offline_training":  # logits of tracks alone were recorded
            of_variant |= _tracks_alone(of_variant, done)
        arrays |= {f"{variant}/{name}": value for name, value in of_variant.items()}
    return arrays


def tiny_tracker(case: Case, dtype: torch.dtype) -> DAQTracker:
    tracker = DAQTracker(
        hidden_dim=32,
        mask_dim=32,
        num_classes=25,
        layers=2,
        heads=4,
        feedforward_dim=64,
        background_queries=3,
    )
    return case.fill(tracker, "tracker.", dtype)


def identical_tracks_as_sets(recorded: Arrays, ours: Arrays) -> Arrays:
    """Puts recorded rows of identical tracks in the order of ours.

    Such rows may exchange the learned queries that they begin as, and have then each other's
    logits: which one takes which is decided by rounding.
    """
    moved: Arrays = {}
    for variant in RULES:
        match, logits = f"{variant}/slot_match", f"{variant}/slot_logits"
        groups, stored = ours[f"{variant}/slot_group"], ours[f"{variant}/slot_stored"]
        mine, theirs = np.lexsort((ours[match], groups)), np.lexsort((recorded[match], groups))
        order = np.empty_like(mine)
        order[mine] = theirs  # the recorded row that each of ours is compared with
        place = np.cumsum(stored) - 1  # of a row among those whose logits were recorded
        moved[match] = recorded[match][order]
        moved[logits] = recorded[logits][place[order[stored]]]
    return recorded | moved


def _frames(case: Case, dtype: torch.dtype) -> FrameOutputs:
    """The six frames; the recorded `valid` stands for the segmenter's score test."""
    valid = case.tensor("tracker/valid")
    logits = torch.zeros(*valid.shape, 26, dtype=dtype)
    logits[..., -1] = torch.where(valid, 0.0, 50.0)
    return FrameOutputs(
        embeds=case.tensor("tracker/frame_embeds", dtype),
        logits=logits,
        masks=case.tensor("tracker/pred_masks", dtype),
        mask_features=case.tensor("tracker/mask_features", dtype),
        initial_queries=case.tensor("tracker/query_feat", dtype),
    )


def _objects(frames: list[TrackedFrame]) -> Arrays:
    bank = TrackBank(dtype=None)
    for done in frames:
        bank.add(done.state, done.step, done.rows, done.seen)
    sightings = bank.sightings()
    return {
        "object_start": sightings.alive.int().argmax(1).numpy(),
        "object_length": sightings.alive.sum(1).numpy(),
        "object_visible": sightings.visible[sightings.alive].numpy(),
    }


def _slot_groups(frames: list[TrackedFrame]) -> Arrays:
    """For each row of tracker 2: a number that identical tracks of a frame share."""
    groups, first = [], 0
    for before, done in zip(frames, frames[1:], strict=False):
        total = len(done.step.anchors)
        background = torch.arange(len(before.state), total)
        groups.append(first + torch.cat([_first_identical(before.state.queries), background]))
        first += total
    return {
        "slot_group": torch.cat(groups).numpy(),
        "slot_stored": np.ones(first, dtype=bool),
    }


def _first_identical(queries: Tensor) -> Tensor:
    """(N,) the first row that equals each row but for rounding."""
    near = torch.cdist(queries, queries, p=torch.inf) < IDENTICAL
    return near.int().argmax(1)


def _tracks_alone(arrays: Arrays, frames: list[TrackedFrame]) -> Arrays:
    counts = arrays["slot_count"]
    tracked = np.array([done.step.num_tracked for done in frames[1:]])
    is_track = np.concatenate([np.arange(n) < t for n, t in zip(counts, tracked, strict=True)])
    return {
        "slot_logits": arrays["slot_logits"][is_track],
        "slot_count": tracked,
        "slot_stored": is_track,
    }
