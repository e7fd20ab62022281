"""The clip module of GenVIS on small stored inputs: `units_genvis.npz`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dvis_daq.checkpoint import to_official
from dvis_daq.structures import Assignment, ClipTargets, FrameOutputs
from dvis_daq.tracker.clip import ClipModule
from dvis_daq.tracker.genvis import GenVISTracker, PrototypeMemory
from dvis_daq.tracker.loop import TrackedFrame, track
from dvis_daq.tracker.state import EndlessLife
from dvis_daq.training.objectives.genvis import GenVISObjective, TaughtClip
from tests.parity.golden.cases import Arrays, Case
from tests.parity.golden.training import LatticePoints, losses_of

WIDTH, CANDIDATES, ROWS = 32, 9, 7
CLIP_FRAMES = {"online": 1, "semi": 2}
# Earlier clips that are read; "plain" has no memory at all
MEMORY = {"memory": None, "query": 0}
INPUTS = ("frame_queries", "mask_features_raw", "targets", "target_ids", "target_labels")
MATCHES = ("frame_match_query", "frame_match_target", "frame_match_count")


def units_genvis(case: Case, dtype: torch.dtype) -> Arrays:
    """Inference and a training step of each kind of clip and memory."""
    arrays = case.inputs(*INPUTS, *MATCHES)
    for clips, clip_frames in CLIP_FRAMES.items():
        for memory in (*MEMORY, "plain"):
            part = f"{clips}_{memory}"
            tracker = _tracker(case, memory, dtype)
            said = _inference(case, tracker.eval(), clip_frames, dtype)
            if f"{part}/loss_names" in case.arrays:
                said |= _training(case, tracker.train(), part, clip_frames, dtype)
            arrays |= {f"{part}/{name}": value for name, value in said.items()}
    return arrays


def _tracker(case: Case, memory: str, dtype: torch.dtype) -> GenVISTracker:
    clip = ClipModule(
        hidden_dim=WIDTH,
        pixel_dim=16,
        mask_dim=16,
        num_classes=25,
        encoder_layers=2,
        decoder_layers=2,
        heads=4,
        feedforward_dim=64,
    )
    tracker = GenVISTracker(
        clip,
        num_candidates=CANDIDATES,
        num_rows=ROWS,
        memory=PrototypeMemory(WIDTH, MEMORY[memory]) if memory in MEMORY else None,
    )
    return case.fill(tracker, "tracker.", dtype)


def _frames(case: Case, layer: int, dtype: torch.dtype) -> FrameOutputs:
    """T frames as a layer of the segmenter saw them; what is not read is zero."""
    embeds = case.tensor("frame_queries", dtype)[layer]
    pixels = case.tensor("mask_features_raw", dtype)
    time, size = len(embeds), pixels.shape[2:]
    return FrameOutputs(
        embeds=embeds,
        logits=embeds.new_zeros(time, CANDIDATES, 26),
        masks=embeds.new_zeros(time, CANDIDATES, *size),
        mask_features=pixels,
        initial_queries=embeds.new_zeros(CANDIDATES, WIDTH),
        pixel_features=pixels,
    )


@torch.no_grad()
def _inference(case: Case, tracker: GenVISTracker, length: int, dtype: torch.dtype) -> Arrays:
    frames = _frames(case, -1, dtype)
    clips = [frames[t : t + length] for t in range(0, len(frames), length)]
    done: list[TrackedFrame] = list(track(tracker, EndlessLife(), clips))
    return {
        "logits": torch.stack([clip.step.tracked.logits[-1] for clip in done]).numpy(),
        "masks": torch.cat([clip.step.tracked.masks[-1] for clip in done], dim=1).numpy(),
        "queries": torch.stack([clip.state.queries for clip in done]).numpy(),
    }


def _training(
    case: Case, tracker: GenVISTracker, part: str, length: int, dtype: torch.dtype
) -> Arrays:
    points = LatticePoints(num_points=256, grid_points=case.recipe.grid_points)
    objective = GenVISObjective(clip_frames=length, points=points)
    targets = ClipTargets(
        case.tensor("target_labels", torch.int64),
        case.tensor("targets"),
        case.tensor("target_ids").amax(1).long(),
    )
    layers = [
        list(objective.track(tracker, _frames(case, layer, dtype), targets, matches))
        for layer, matches in enumerate(_matches(case, targets))
    ]
    losses: dict[str, Tensor] = {}
    for number, taught in enumerate(zip(*layers, strict=True)):
        losses |= objective.clip_losses(taught, suffix=f"_clip{number}")
    losses = {name.replace("loss_", "loss_genvis_"): value for name, value in losses.items()}
    sum(losses.values()).backward()
    return {
        **losses_of(losses),
        "match_query": _rows(layers, case.arrays[f"{part}/match_query"]),
        **_gradients(tracker, case.arrays, part),
    }


def _matches(case: Case, targets: ClipTargets) -> list[list[Assignment]]:
    """For each layer and frame; recorded objects are numbered among those of the frame."""
    counts = case.arrays["frame_match_count"].tolist()
    query, target = (case.tensor(name).long().split(counts) for name in MATCHES[:2])
    frames = targets.num_frames
    found = []
    for index, (rows, numbers) in enumerate(zip(query, target, strict=True)):
        objects = targets.visible[:, index % frames].nonzero().squeeze(1)
        found.append(Assignment(rows, objects[numbers]))
    return [found[start : start + frames] for start in range(0, len(found), frames)]


def _rows(layers: list[list[TaughtClip]], recorded: np.ndarray) -> np.ndarray:
    """(clip, decoder layer x segmenter layer, object), the final decoder layer first.

    The recorded rows of objects that were not seen yet mean nothing; we have none there.
    """
    by_clip = [
        torch.stack([said.held.flip(0) for said in taught], dim=1).flatten(0, 1)
        for taught in zip(*layers, strict=True)
    ]
    rows = torch.stack(by_clip).numpy()
    return np.where(rows >= 0, rows, recorded).astype(recorded.dtype)


def _gradients(tracker: GenVISTracker, arrays: Arrays, part: str) -> Arrays:
    """Norms by name; without memory, recorded ones of its query term take their place."""
    ours = to_official({f"tracker.{name}": p for name, p in tracker.named_parameters()})
    norms = {
        name.removeprefix("vita_module."): parameter.grad.norm().item()
        for name, parameter in ours.items()
        if parameter.grad is not None
    }
    if tracker.memory is None:
        recorded = zip(*(arrays[f"{part}/grad_{kind}"] for kind in ("names", "norms")), strict=True)
        norms |= {name: norm for name, norm in recorded if name.startswith("pre_query_embed_")}
    names = sorted(norms)
    return {"grad_names": np.array(names), "grad_norms": np.array([norms[n] for n in names])}
