"""The model's parts on small stored inputs: `units.npz`."""

from __future__ import annotations

import torch

from dvis_daq.layers import QuerySoftmaxAttention, mask_pool
from dvis_daq.structures import FrameOutputs
from dvis_daq.tasks.vos import first_frame_overlap, tracks_of_objects
from dvis_daq.tracker.anchors import nearest_initial_queries
from dvis_daq.tracker.appearance import AppearanceMemory
from dvis_daq.tracker.bank import TrackBank
from dvis_daq.tracker.embedding import EmbeddingTracker
from dvis_daq.tracker.loop import track
from dvis_daq.tracker.state import EndlessLife
from tests.parity.golden.cases import Arrays, Case
from tests.parity.golden.units_refiner import refiners
from tests.parity.golden.units_tracker import tiny_tracker, trackers
from tests.parity.golden.units_training import matchers


@torch.no_grad()
def units(case: Case, dtype: torch.dtype) -> Arrays:
    """Every part; the names of the arrays begin with the part."""
    parts = (
        _momentum, _nearest, _disappearance_attention, _appearance, trackers, refiners, matchers,
        _chains, _first_frame_objects,
    )  # fmt: skip
    arrays: Arrays = {}
    for part in parts:
        arrays |= part(case, dtype)
    return arrays


def _momentum(case: Case, dtype: torch.dtype) -> Arrays:
    """Eq. 4-5 over nine earlier observations, and over ten, which the release does not use."""
    sequence = case.tensor("momentum/input", dtype)
    return case.inputs("momentum/input") | {
        "momentum/output": _running_means(sequence, window=9).numpy(),
        "momentum/output_list_popped": _running_means(sequence, window=10).numpy(),
    }


def _running_means(sequence: torch.Tensor, window: int) -> torch.Tensor:
    memory = AppearanceMemory.start(sequence[:1], window)
    means = [memory.mean]
    for feature in sequence[1:]:
        memory = memory.observe(feature[None], torch.tensor([True]))
        means.append(memory.mean)
    return torch.cat(means)


def _nearest(case: Case, dtype: torch.dtype) -> Arrays:
    arrays: Arrays = {}
    for part in ("match_more_rows", "match_fewer_rows"):
        names = (f"{part}/rows", f"{part}/cols")
        index = nearest_initial_queries(*(case.tensor(name, dtype) for name in names))
        arrays |= case.inputs(*names) | {f"{part}/index": index.numpy()}
    return arrays


def _disappearance_attention(case: Case, dtype: torch.dtype) -> Arrays:
    prefix = "tracker.disappearance.layers.0.cross_attn."
    layer = case.fill(QuerySoftmaxAttention(32, 4), prefix, dtype)
    names = ("slot/tgt", "slot/memory", "slot/query_pos", "slot/slot_query")
    x, memory, position, anchors = (case.tensor(name, dtype) for name in names)
    blocked = case.tensor("slot/blocked")
    share = layer.slot_attn(x + position, anchors)
    outputs = {
        "output": layer(x, memory, position=position, anchors=anchors),
        "output_blocked": layer(x, memory, position=position, anchors=anchors, blocked=blocked),
        "output_self": layer(x, memory, position=position, anchors=x),
        "attention_only": torch.einsum("nm,nc->mc", share, x),
    }
    return case.inputs(*names, "slot/blocked") | {
        f"slot/{name}": output.numpy() for name, output in outputs.items()
    }


def _appearance(case: Case, dtype: torch.dtype) -> Arrays:
    names = ("pos/features", "pos/mask")
    pooled = mask_pool(*(case.tensor(name, dtype) for name in names))
    embeds = tiny_tracker(case, dtype).appearance_mlp(pooled)
    return case.inputs(*names) | {"pos/pooled": pooled.numpy(), "pos/embeds": embeds.numpy()}


def _chains(case: Case, dtype: torch.dtype) -> Arrays:
    """MinVIS."""
    names = ("minvis/embeds", "minvis/logits", "minvis/masks")
    embeds, logits, masks = (case.tensor(name, dtype) for name in names)
    masks = masks.transpose(0, 1)  # (T, Q, h, w)
    frames = FrameOutputs(embeds, logits, masks, masks, embeds[0])
    bank, queries = TrackBank(dtype=None), []
    for done in track(EmbeddingTracker().to(dtype), EndlessLife(), frames):
        bank.add(done.state, done.step, done.rows, done.seen)
        queries.append(done.state.queries)
    prediction = bank.drain()
    return case.inputs(*names) | {
        "minvis/out_embeds": torch.stack(queries, 1).numpy(),
        "minvis/out_logits": prediction.logits.numpy(),
        "minvis/out_masks": prediction.masks.numpy(),
    }


def _first_frame_objects(case: Case, dtype: torch.dtype) -> Arrays:
    masks, objects = case.tensor("vos/masks", dtype), case.tensor("vos/targets")
    return case.inputs("vos/masks", "vos/targets") | {
        "vos/overlap": first_frame_overlap(masks, objects).numpy(),
        "vos/object_for_target": tracks_of_objects(masks, objects).numpy(),
    }
