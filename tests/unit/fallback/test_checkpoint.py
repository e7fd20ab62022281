"""Checkpoints: contract 4.5, on both sides."""

import argparse
import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer, PeriodicCheckpointer
from detectron2.modeling import build_backbone
from torch import nn

from .test_resnet import config


@pytest.fixture
def model() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))


def dump(path: Path, data: object) -> str:
    with path.open("wb") as file:
        pickle.dump(data, file)
    return str(path)


def arrays(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() + 1 for name, tensor in module.state_dict().items()}


def is_loaded(module: nn.Module, weights: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(t, weights[n]) for n, t in module.state_dict().items())


def test_save_and_resume(model: nn.Module, tmp_path: Path) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    checkpointer = DetectionCheckpointer(model, str(tmp_path), optimizer=optimizer)
    checkpointer.save("model_0000004", iteration=4)
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000004.pth"
    saved = torch.load(tmp_path / "model_0000004.pth")
    assert list(saved) == ["model", "optimizer", "iteration"]

    nn.init.zeros_(model[0].weight)
    optimizer.param_groups[0]["lr"] = 7.0
    rest = checkpointer.resume_or_load("other.pth", resume=True)  # the path is not looked at
    assert rest["iteration"] == 4
    assert model[0].weight.any() and optimizer.param_groups[0]["lr"] == 0.1


def test_not_resuming_loads_the_model_only(model: nn.Module, tmp_path: Path) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    checkpointer = DetectionCheckpointer(model, str(tmp_path), optimizer=optimizer)
    checkpointer.save("first")
    optimizer.param_groups[0]["lr"] = 7.0
    checkpointer.resume_or_load(str(tmp_path / "first.pth"), resume=False)
    assert optimizer.param_groups[0]["lr"] == 7.0
    assert checkpointer.resume_or_load("", resume=False) == {}


def test_missing_file(model: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="nope.pth not found!"):
        DetectionCheckpointer(model).load(str(tmp_path / "nope.pth"))


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_bare_state_dict(model: nn.Module, tmp_path: Path, prefix: str) -> None:
    weights = arrays(model)
    path = str(tmp_path / "bare.pth")
    torch.save({prefix + name: torch.from_numpy(array) for name, array in weights.items()}, path)
    DetectionCheckpointer(model).load(path)
    assert is_loaded(model, weights)


def test_pickle_of_the_model_zoo(model: nn.Module, tmp_path: Path) -> None:
    weights = arrays(model)
    path = dump(tmp_path / "zoo.pkl", {"model": dict(weights), "__author__": "somebody"})
    DetectionCheckpointer(model).load(path)
    assert is_loaded(model, weights)


def test_matching_by_the_end_of_the_name(model: nn.Module, tmp_path: Path) -> None:
    weights = arrays(model)
    whole = nn.ModuleDict({"backbone": model})
    data = {"model": dict(weights), "__author__": "x", "matching_heuristics": True}
    DetectionCheckpointer(whole).load(dump(tmp_path / "r.pkl", data))
    assert is_loaded(model, weights)

    nn.init.zeros_(model[0].weight)
    path = str(tmp_path / "r.pth")
    torch.save({name: torch.from_numpy(array) for name, array in weights.items()}, path)
    DetectionCheckpointer(whole).load(path + "?matching_heuristics=True")
    assert is_loaded(model, weights)
    with pytest.raises(ValueError):
        DetectionCheckpointer(whole).load(path + "?nope=1")


def test_the_longest_name_wins_and_shapes_must_agree(tmp_path: Path) -> None:
    whole = nn.ModuleDict({"a": nn.ModuleDict({"b": nn.Linear(2, 2)}), "c": nn.Linear(3, 2)})
    ones = torch.ones(2, 2)
    weights = {"weight": ones * 5, "b.weight": ones, "b.bias": ones[0], "extra": ones}
    torch.save(weights, tmp_path / "w.pth")
    before = whole["c"].weight.clone()
    DetectionCheckpointer(whole).load(f"{tmp_path}/w.pth?matching_heuristics=True")
    assert torch.equal(whole["a"]["b"].weight, ones) and torch.equal(whole["c"].weight, before)


def test_two_claims_on_one_weight(tmp_path: Path) -> None:
    twins = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    torch.save({"weight": torch.ones(2, 2)}, tmp_path / "w.pth")
    with pytest.raises(ValueError):
        DetectionCheckpointer(twins).load(f"{tmp_path}/w.pth?matching_heuristics=True")


def test_caffe2_names(tmp_path: Path) -> None:
    backbone = build_backbone(config())
    shape = backbone.res2[0].conv1.weight.shape
    blobs = {
        "conv1_w": np.full(backbone.stem.conv1.weight.shape, 2, np.float32),
        "res_conv1_bn_s": np.full(64, 3, np.float32),
        "res2_0_branch2a_w": np.full(shape, 4, np.float32),
        "res2_0_branch1_bn_b": np.full(256, 5, np.float32),
        "conv1_w_momentum": np.zeros(1, np.float32),
        "fc1000_w": np.zeros((1000, 2048), np.float32),
    }
    whole = nn.ModuleDict({"backbone": backbone})
    DetectionCheckpointer(whole).load(dump(tmp_path / "c2.pkl", {"blobs": blobs}))
    assert (backbone.stem.conv1.weight == 2).all() and (backbone.stem.conv1.norm.weight == 3).all()
    assert (backbone.res2[0].conv1.weight == 4).all()
    assert (backbone.res2[0].shortcut.norm.bias == 5).all()


def test_mismatches_are_told_not_raised(
    model: nn.Module, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("fvcore").propagate = True
    path = tmp_path / "w.pth"
    torch.save({"model": {"0.weight": torch.ones(9, 2), "other": torch.ones(1)}}, path)
    with caplog.at_level(logging.WARNING):
        DetectionCheckpointer(model).load(str(path))
    assert "Skip loading parameter '0.weight'" in caplog.text
    assert "1.{bias, weight}" in caplog.text and "other" in caplog.text


def test_objects_in_a_checkpoint_are_refused(model: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "args.pth"
    torch.save({"model": model.state_dict(), "args": argparse.Namespace(a=1)}, path)
    with pytest.raises(pickle.UnpicklingError):
        DetectionCheckpointer(model).load(str(path))


def test_periodic_checkpointer(model: nn.Module, tmp_path: Path) -> None:
    checkpointer = DetectionCheckpointer(model, str(tmp_path))
    periodic = PeriodicCheckpointer(checkpointer, period=2, max_iter=7, max_to_keep=2)
    for iteration in range(7):
        periodic.step(iteration)
    names = sorted(path.name for path in tmp_path.glob("*.pth"))
    assert names == ["model_0000003.pth", "model_0000005.pth", "model_final.pth"]
