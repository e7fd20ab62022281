"""The table of names: one-to-one, both ways, on every name of the released models."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from dvis_daq.checkpoint import (
    OFFICIAL_NAMES,
    CheckpointError,
    from_official,
    register_official_names,
    to_official,
)

MANIFESTS = [
    "DAQ_Online_R50_ovis",
    "DAQ_Online_R50_vipseg",
    "DAQ_Online_SwinL_ovis",
    "DAQ_Online_VitAdapterL_ovis",
    "DAQ_Offline_R50_ovis",
    "DAQ_Offline_VitAdapterL_ovis",
    "MinVIS_R50_ovis",
    "CTVIS_R50_ovis",
    "DVIS_Plus_Online_R50_16wIter_ovis",
    "DVIS_Plus_Offline_R50_ovis",
    "GenVIS_Online_R50_ovis",
]


def test_table_is_one_to_one() -> None:
    assert len(OFFICIAL_NAMES) == len(set(OFFICIAL_NAMES.values())) == 43
    assert not set(OFFICIAL_NAMES) & set(OFFICIAL_NAMES.values())


@pytest.mark.parametrize("row", OFFICIAL_NAMES.items(), ids=lambda row: row[0])
def test_each_row_keeps_layer_and_tail(row: tuple[str, str]) -> None:
    official, ours = (name.format(12) + ".layers.0.weight" for name in row)
    assert from_official({official: "value"}) == {ours: "value"}
    assert to_official({ours: "value"}) == {official: "value"}
    assert from_official({ours: "value"}) == {ours: "value"}


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_released_names_round_trip(manifest: str, reference_dir: Path) -> None:
    shapes = json.loads((reference_dir / "state_dicts" / f"{manifest}.json").read_text())
    weights = {name: entry["shape"] for name, entry in shapes.items() if "criterion" not in name}
    ours = from_official(shapes)
    assert len(ours) == len(weights)
    assert {name: entry["shape"] for name, entry in to_official(ours).items()} == weights
    assert from_official(ours) == ours


@pytest.mark.parametrize("manifest", [m for m in MANIFESTS if m.startswith(("DAQ", "DVIS"))])
def test_no_released_word_is_left_in_tracker_and_refiner(
    manifest: str, reference_dir: Path
) -> None:
    shapes = json.loads((reference_dir / "state_dicts" / f"{manifest}.json").read_text())
    same = set(from_official(shapes)) & set(shapes)
    assert same == {"tracker.mask_feature_proj.weight", "tracker.mask_feature_proj.bias"}


def test_similar_words_are_not_confused() -> None:
    names = ["refiner.layers.1.time_conv.0.weight", "refiner.layers.1.time_conv_norm.weight"]
    assert list(to_official(dict.fromkeys(names))) == [
        "refiner.conv_short_aggregate_layers.1.0.weight",
        "refiner.conv_norms.1.weight",
    ]
    assert list(from_official({"backbone_extra.weight": 0})) == ["backbone_extra.weight"]


def test_loss_weights_and_pixel_statistics_are_dropped() -> None:
    names = ["criterion.empty_weight", "daq_criterion.empty_weight", "pixel_mean", "pixel_std"]
    assert from_official(dict.fromkeys(names)) == {}


def test_old_name_of_the_query_features() -> None:
    old = {"sem_seg_head.predictor.static_query.weight": 1}
    assert list(from_official(old)) == ["segmenter.sem_seg_head.predictor.query_feat.weight"]


def test_two_names_for_one_weight_are_an_error() -> None:
    both = {"tracker.bg_slots.weight": 1, "tracker.background_queries.weight": 2}
    with pytest.raises(CheckpointError, match="are both the weight tracker.background_queries"):
        from_official(both)


class _Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tracker = nn.Module()
        self.tracker.background_queries = nn.Embedding(5, 4)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("name", ["bg_slots", "background_queries"])
def test_load_hook_takes_both_spellings(wrapped: bool, name: str) -> None:
    model = _Model()
    register_official_names(model)
    holder = nn.ModuleDict({"module": model}) if wrapped else model
    weight = torch.rand(5, 4)
    key = f"tracker.{name}.weight"
    holder.load_state_dict({f"module.{key}" if wrapped else key: weight})
    assert torch.equal(model.tracker.background_queries.weight, weight)
