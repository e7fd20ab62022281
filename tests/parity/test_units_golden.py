"""The tracker's parts and the tasks against the small golden arrays, in float64.

`units.npz` and `post_processing.npz` of the reference data: measured on the released
implementation, with weights from a closed recipe.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dvis_daq.checkpoint import to_official
from dvis_daq.layers import QuerySoftmaxAttention, mask_pool
from dvis_daq.structures import FrameOutputs, FrameSizes, VideoPrediction
from dvis_daq.tasks.vis import decode, instances
from dvis_daq.tasks.vps import panoptic
from dvis_daq.tasks.vss import semantic
from dvis_daq.tracker.anchors import nearest_initial_queries
from dvis_daq.tracker.appearance import AppearanceMemory
from dvis_daq.tracker.bank import TrackBank
from dvis_daq.tracker.daq import DAQTracker
from dvis_daq.tracker.embedding import EmbeddingTracker
from dvis_daq.tracker.state import (
    EndlessLife,
    Lifecycle,
    TrackerStep,
    advance,
    mean_of_both,
    tracker_1,
    tracker_1_and_2,
)
from tests.parity.golden.cases import Arrays, Case, load_cases

TOLERANCE = 1e-5  # the data allow 1e-4; a correct float64 build is far inside
Module = TypeVar("Module", bound=nn.Module)


@pytest.fixture(scope="module")
def cases(reference_dir: Path) -> dict[str, Case]:
    return {case.name: case for case in load_cases(reference_dir)}


@pytest.fixture(scope="module")
def case(cases: dict[str, Case]) -> Case:
    return cases["units"]


@pytest.fixture(scope="module")
def units(case: Case) -> Arrays:
    return case.arrays


def fill(module: Module, prefix: str, case: Case) -> Module:
    """`module`, which lies at `prefix` in our models, with the weights of the recipe."""
    for name, value in module.double().state_dict().items():
        [official] = to_official({prefix + name: None})
        filled = case.recipe.fill_tensor(official, value.shape, case.entry["weight_seed"])
        value.copy_(torch.from_numpy(filled))
    return module.eval()


def assert_close(value: Tensor | np.ndarray, expected: np.ndarray) -> None:
    value = np.asarray(value.detach() if isinstance(value, Tensor) else value)
    np.testing.assert_allclose(value, expected, rtol=TOLERANCE, atol=TOLERANCE)


def double(arrays: Arrays, name: str) -> Tensor:
    return torch.from_numpy(arrays[name]).double()


def test_momentum(units: Arrays) -> None:
    sequence = double(units, "momentum/input")
    memory = AppearanceMemory.start(sequence[:1], window=9)
    means = [memory.mean]
    for feature in sequence[1:]:
        memory = memory.observe(feature[None], torch.tensor([True]))
        means.append(memory.mean)
    assert_close(torch.cat(means), units["momentum/output"])


@pytest.mark.parametrize("kind", ["match_more_rows", "match_fewer_rows"])
def test_nearest_initial_queries(units: Arrays, kind: str) -> None:
    index = nearest_initial_queries(double(units, f"{kind}/rows"), double(units, f"{kind}/cols"))
    assert index.tolist() == units[f"{kind}/index"].tolist()


def test_query_softmax_attention(units: Arrays, case: Case) -> None:
    prefix = "tracker.disappearance.layers.0.cross_attn."
    layer = fill(QuerySoftmaxAttention(32, 4), prefix, case)
    names = ("tgt", "memory", "query_pos", "slot_query")
    x, memory, position, anchors = (double(units, f"slot/{name}") for name in names)
    blocked = torch.from_numpy(units["slot/blocked"])
    for name, options in {
        "output": {"anchors": anchors},
        "output_blocked": {"anchors": anchors, "blocked": blocked},
        "output_self": {"anchors": x},
    }.items():
        output = layer(x, memory, position=position, **options)
        assert_close(output, units[f"slot/{name}"])
    share = layer.slot_attn(x + position, anchors)
    assert_close(torch.einsum("nm,nc->mc", share, x), units["slot/attention_only"])


def test_appearance_of_masks(units: Arrays, case: Case) -> None:
    tracker = tiny_tracker(case)
    pooled = mask_pool(double(units, "pos/features"), double(units, "pos/mask"))
    assert_close(pooled, units["pos/pooled"])
    assert_close(tracker.appearance_mlp(pooled), units["pos/embeds"])


RULES = {
    "tracker_ovis": tracker_1_and_2,
    "tracker_plain": tracker_1,
    "tracker_offline_training": mean_of_both,
}


@pytest.mark.parametrize("variant", RULES)
def test_tracker(units: Arrays, case: Case, variant: str) -> None:
    tracker = tiny_tracker(case)
    life = Lifecycle(accept=RULES[variant], score=0.03, foreground_score=0.01)
    bank, state = TrackBank(dtype=None), tracker.start()
    golden = {n.split("/")[1]: v for n, v in units.items() if n.startswith(f"{variant}/")}
    slots = cut(golden, "slot")
    for t, (query, kept) in enumerate(zip(cut(golden, "query"), cut(golden, "kept"), strict=True)):
        frame = tiny_frame(units, t)
        with torch.no_grad():
            step = tracker.step(state, frame)
        if t > 0:
            compare_disappearance(step, slots[t - 1], state.queries)
        seen = life.seen(state, step, frame)
        state, rows = advance(state, step, seen, life.patience)
        bank.add(state, step, rows, seen)
        assert_close(step.tracked.logits[-1], query["logits"])
        area = (step.tracked.masks[-1] > 0).sum((1, 2, 3))
        assert area.tolist() == query["mask_area"].tolist()
        assert state.ids.tolist() == kept["objects"].tolist()
        assert seen[rows].tolist() == kept["visible"].tolist()
        assert_close(state.appearance.mean, kept["pos_embed"])
    sightings = bank.sightings()
    assert sightings.alive.int().argmax(1).tolist() == golden["object_start"].tolist()
    assert sightings.alive.sum(1).tolist() == golden["object_length"].tolist()
    assert sightings.visible[sightings.alive].tolist() == golden["object_visible"].tolist()


def compare_disappearance(step: TrackerStep, slot: Arrays, tracks: Tensor) -> None:
    """Compares tracker 2, rows of identical tracks as a set.

    They may exchange the learned queries they begin as, and have then each other's result.
    """
    ours, theirs = step.anchors.numpy(), slot["match"]
    groups = np.concatenate([group_of(tracks), len(ours) + np.arange(len(ours) - len(tracks))])
    mine, golden = np.lexsort((ours, groups)), np.lexsort((theirs, groups))
    assert ours[mine].tolist() == theirs[golden].tolist()
    logits = np.empty((len(ours), step.disappearing.logits.shape[-1]))
    logits[golden] = step.disappearing.logits[-1].numpy()[mine]
    assert_close(logits[: len(slot["logits"])], slot["logits"])


def group_of(tracks: Tensor) -> np.ndarray:
    """(N,) the same number for tracks that are equal but for rounding."""
    return np.unique(tracks.numpy().round(9), axis=0, return_inverse=True)[1].ravel()


def cut(golden: Arrays, kind: str) -> list[Arrays]:
    """The frames of the ragged arrays `<kind>_*`."""
    counts = golden[f"{kind}_count"]
    ends = np.cumsum(counts)
    fields = {n.removeprefix(f"{kind}_"): v for n, v in golden.items() if n.startswith(f"{kind}_")}
    frames = []
    for start, end in zip(ends - counts, ends, strict=True):
        frames.append({n: v[start:end] for n, v in fields.items() if len(v) == ends[-1]})
    if "match" in fields:  # one for each row, also where only logits of tracks are stored
        rows = np.cumsum(golden["kept_count"][:-1] + 3)
        for frame, piece in zip(frames, np.split(fields["match"], rows[:-1]), strict=True):
            frame["match"] = piece
    return frames


def tiny_tracker(case: Case) -> DAQTracker:
    tracker = DAQTracker(
        hidden_dim=32,
        mask_dim=32,
        num_classes=25,
        layers=2,
        heads=4,
        feedforward_dim=64,
        background_queries=3,
    )
    return fill(tracker, "tracker.", case)


def tiny_frame(units: Arrays, t: int) -> FrameOutputs:
    """Frame t of the tiny run; the stored `valid` stands for the segmenter's score test."""
    valid = torch.from_numpy(units["tracker/valid"][t])
    logits = torch.zeros(1, len(valid), 26, dtype=torch.float64)
    logits[..., -1] = torch.where(valid, 0.0, 50.0)
    return FrameOutputs(
        embeds=double(units, "tracker/frame_embeds")[t : t + 1],
        logits=logits,
        masks=double(units, "tracker/pred_masks")[t : t + 1],
        mask_features=double(units, "tracker/mask_features")[t : t + 1],
        initial_queries=double(units, "tracker/query_feat"),
    )


def test_embedding_tracker(units: Arrays) -> None:
    embeds, logits = double(units, "minvis/embeds"), double(units, "minvis/logits")
    masks = double(units, "minvis/masks").transpose(0, 1)  # (T, Q, h, w)
    frames = FrameOutputs(embeds, logits, masks, masks, embeds[0])
    tracker, life, bank = EmbeddingTracker().double(), EndlessLife(), TrackBank(dtype=None)
    state, queries = tracker.start(), []
    for frame in frames:
        step = tracker.step(state, frame)
        seen = life.seen(state, step, frame)
        state, rows = advance(state, step, seen, life.patience)
        bank.add(state, step, rows, seen)
        queries.append(state.queries)
    assert_close(torch.stack(queries, 1), units["minvis/out_embeds"])
    prediction = bank.drain()
    assert_close(prediction.logits, units["minvis/out_logits"])
    assert_close(prediction.masks, units["minvis/out_masks"])


@pytest.fixture(scope="module")
def post(cases: dict[str, Case]) -> Arrays:
    return cases["post_processing"].arrays


def prediction_of(post: Arrays) -> tuple[VideoPrediction, FrameSizes]:
    logits, masks = double(post, "logits"), double(post, "masks")
    names = ("padded_size", "image_size", "output_size")
    sizes = FrameSizes(*(tuple(post[name].tolist()) for name in names))
    return VideoPrediction(torch.arange(len(logits)), logits, masks), sizes


def test_vis(post: Arrays) -> None:
    prediction, sizes = prediction_of(post)
    result = instances(prediction, sizes, max_instances=20)
    order = np.argsort(-post["vis_scores"], kind="stable")
    assert_close(result["scores"], post["vis_scores"][order])
    assert result["labels"].tolist() == post["vis_labels"][order].tolist()
    assert result["ids"].tolist() == post["vis_ids"][order].tolist()
    count = int(np.prod(post["vis_masks_shape"]))
    masks = np.unpackbits(post["vis_masks_packed"], count=count).reshape(post["vis_masks_shape"])
    decoded = np.stack([decode(track, sizes.output) for track in result["masks"]])
    assert np.array_equal(decoded, masks[order].astype(bool))


def test_vps(post: Arrays) -> None:
    prediction, sizes = prediction_of(post)
    result = panoptic(prediction, sizes, num_things=58, score_threshold=0.5, overlap_threshold=0.35)
    assert np.array_equal(result["panoptic"].numpy(), post["vps_panoptic"])
    for field, golden in {
        "id": "id",
        "isthing": "isthing",
        "category_id": "category",
        "track": "object",
    }.items():
        values = [segment[field] for segment in result["segments"]]
        assert values == post[f"vps_segment_{golden}"].tolist(), field


def test_vss(post: Arrays) -> None:
    prediction, sizes = prediction_of(post)
    assert np.array_equal(semantic(prediction, sizes)["semantic"].numpy(), post["semantic"])
