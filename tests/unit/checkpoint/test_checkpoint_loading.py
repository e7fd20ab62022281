"""Which weights fit which model, and what is said when they do not."""

import logging
from pathlib import Path

import pytest
import torch
from torch import nn

from dvis_daq.checkpoint import (
    CheckpointError,
    Signature,
    load_state,
    load_weights,
    register_official_names,
    to_official,
    write_weights,
)


def _tree(**children: nn.Module) -> nn.Module:
    module = nn.Module()
    for name, child in children.items():
        module.add_module(name, child)
    return module


def _segmenter(classes: int, queries: int, reid: bool) -> nn.Module:
    predictor = _tree(class_embed=nn.Linear(4, classes + 1), query_feat=nn.Embedding(queries, 4))
    if reid:
        predictor.reid_embed = _tree(layers=nn.Linear(4, 4))
    backbone = _tree(stem=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4))
    return _tree(backbone=backbone, sem_seg_head=_tree(predictor=predictor))


def make_model(
    *parts: str, classes: int = 5, queries: int = 8, reid: bool = True, layers: int = 2
) -> nn.Module:
    """A stand-in with the names of the real model."""
    model = _tree(segmenter=_segmenter(classes, queries, reid))
    if "tracker" in parts:
        stack = nn.ModuleList(_tree(ffn=nn.Linear(4, 4)) for _ in range(layers))
        head = _tree(class_embed=nn.Linear(4, classes + 1))
        model.tracker = _tree(emergence=_tree(layers=stack), head=head)
    if "refiner" in parts:
        model.refiner = _tree(frame_weight=nn.Linear(4, 1))
    register_official_names(model)
    return model


def _equal(model: nn.Module, state: dict[str, torch.Tensor]) -> bool:
    own = model.state_dict()
    return all(torch.equal(own[name], value) for name, value in state.items())


@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_whole_model(tmp_path: Path, official: bool, suffix: str) -> None:
    trained, model = make_model("tracker", "refiner"), make_model("tracker", "refiner")
    state = trained.state_dict()
    write_weights(tmp_path / f"w{suffix}", to_official(state) if official else state)
    load_weights(model, tmp_path / f"w{suffix}")
    assert _equal(model, state)


def test_next_stage_starts_from_the_one_before(caplog: pytest.LogCaptureFixture) -> None:
    state = make_model().state_dict()
    model = make_model("tracker")
    with caplog.at_level(logging.INFO):
        load_state(model, state, source="seg.pth", trains=("tracker",))
    assert _equal(model, state)
    assert "starts untrained: tracker (6)" in caplog.text


def test_segmenter_is_not_an_online_model() -> None:
    model = make_model("tracker")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        load_state(model, make_model().state_dict(), source="seg.pth")
    assert str(error.value) == (
        "seg.pth (segmenter, 5 classes, 8 queries) does not fit the model "
        "(segmenter + tracker, 5 classes, 8 queries): missing: tracker (6). The file holds no "
        "tracker: give the weights of a model that has been trained that far, or train that "
        "stage from these. MODEL.PARTIAL_WEIGHTS True loads what fits all the same."
    )
    assert _equal(model, before)


def test_a_frozen_part_must_be_there() -> None:
    model = make_model("tracker", "refiner")
    with pytest.raises(
        CheckpointError, match=r"missing: tracker \(6\)\. The file holds no tracker"
    ):
        load_state(model, make_model().state_dict(), source="s", trains=("refiner",))


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"classes": 40}, r"\(41, 4\) for \(6, 4\).*NUM_CLASSES 40 would agree"),
        ({"queries": 20}, r"\(20, 4\) for \(8, 4\).*NUM_OBJECT_QUERIES 20 would agree"),
        ({"reid": False}, r"missing: .*reid_embed \(2\).*REID_BRANCH False would agree"),
        ({"layers": 3}, r"unknown to the model: tracker.emergence.layers.2 \(2\)"),
        ({"layers": 1}, r"missing: tracker.emergence.layers.1 \(2\)"),
    ],
)
def test_another_size(options: dict[str, int], advice: str) -> None:
    state = make_model("tracker", **options).state_dict()
    with pytest.raises(CheckpointError, match=advice):
        load_state(make_model("tracker"), state, source="s")


def test_partial_loading_is_explicit_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    state = make_model("tracker", classes=40).state_dict()
    model = make_model("tracker")
    load_state(model, state, source="s", partial=True)
    name = "tracker.emergence.layers.0.ffn.weight"
    assert torch.equal(model.state_dict()[name], state[name])
    assert "loaded in part: other shape: segmenter.sem_seg_head" in caplog.text


def test_a_part_that_the_model_lacks_is_no_loss(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        load_state(make_model(), make_model("tracker").state_dict(), source="s")
    assert "not used: tracker (6)" in caplog.text


def test_nothing_in_common() -> None:
    with pytest.raises(CheckpointError, match="no weight fits this model; its names are like foo"):
        load_state(make_model(), {"foo.bar": torch.rand(1)}, source="s", partial=True)


def test_bare_backbone_starts_a_segmenter() -> None:
    weight = torch.rand(4, 3, 3, 3)
    model = make_model()
    state = {"stem.weight": weight, "stem.fc.weight": torch.rand(10, 4)}
    load_state(model, state, source="R-50.pkl", trains=("segmenter",))
    assert torch.equal(model.segmenter.backbone.stem.weight, weight)


def test_derived_constants_may_differ() -> None:
    state = make_model().state_dict()
    del state["segmenter.backbone.norm.num_batches_tracked"]
    state["segmenter.backbone.blocks.0.relative_position_index"] = torch.zeros(4)
    load_state(make_model(), state, source="s")


def test_signature() -> None:
    signature = Signature.of(make_model("tracker", classes=3, queries=9).state_dict())
    assert signature == Signature(("segmenter", "tracker"), 3, 9)
