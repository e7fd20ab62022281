"""Options of how a model is computed: the same names, the same numbers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dvis_daq.recipes  # noqa: F401
from dvis_daq.config import ConfigError, get_config
from dvis_daq.engine.adaptation import adapt, recompute_blocks, repeated_blocks, unshare_batch_norms
from dvis_daq.engine.optimizer import scaled_rate
from dvis_daq.engine.trainer import Trainer
from tests.tiny_run import tiny_config
from tests.unit.engine.stand_in import Stream, stand_in_config


def _train(folder: Path, recipe: str, *options: str) -> Trainer:
    cfg = get_config(
        tiny_config(folder, recipe),
        ["SOLVER.MAX_ITER", "2", "DATASETS.TEST", "()", "INPUT.CLIP.FRAMES", "2", *options],
    )
    torch.manual_seed(5)
    trainer = Trainer(cfg)
    trainer.prepare()
    trainer.train()
    return trainer


def _weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


@pytest.mark.parametrize("recipe", ["MinVIS", "DVIS_DAQ_online"])
def test_recomputed_activations_are_the_same(recipe: str, tmp_path: Path) -> None:
    plain = _train(tmp_path, recipe)
    recomputing = _train(tmp_path, recipe, "SOLVER.ACTIVATION_CHECKPOINTING", "True")
    own, other = _weights(plain), _weights(recomputing)
    assert own.keys() == other.keys()
    assert all(torch.equal(own[name], other[name]) for name in own)


def _saved_bytes(module: nn.Module, x: Tensor) -> int:
    total = 0

    def pack(value: Tensor) -> Tensor:
        nonlocal total
        total += value.nbytes
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        module(x)
    return total


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 64), nn.GELU(), nn.Linear(64, 8))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def test_recomputing_saves_memory() -> None:
    model = nn.Sequential(*(_Block() for _ in range(4)))
    x = torch.rand(128, 8, requires_grad=True)
    before = _saved_bytes(model, x)
    assert recompute_blocks(model) == 4
    assert _saved_bytes(model, x) < before / 4


def test_blocks_with_batch_norm_are_left_alone() -> None:
    class Normed(_Block):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(8)

    model = nn.Sequential(Normed(), Normed())
    assert len(repeated_blocks(model)) == 2
    assert recompute_blocks(model) == 0


def _losses(trainer: Trainer) -> list[float]:
    return [value for value, _ in trainer.storage.history("total_loss").values()]


def test_channels_last_is_close(tmp_path: Path) -> None:
    trainer = _train(tmp_path, "MinVIS", "SOLVER.CHANNELS_LAST", "True")
    convolution = trainer.model.segmenter.sem_seg_head.pixel_decoder.layer_1.weight
    assert convolution.is_contiguous(memory_format=torch.channels_last)
    assert _losses(trainer) == pytest.approx(_losses(_train(tmp_path, "MinVIS")), rel=1e-3)


def test_batch_norms_of_one_process() -> None:
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 1), nn.SyncBatchNorm(4)), nn.ReLU())
    parameters, names = list(model.parameters()), list(model.state_dict())
    expected = model(torch.ones(2, 3, 4, 4))
    unshare_batch_norms(model)
    assert type(model[0][1]) is nn.BatchNorm2d
    assert list(model.state_dict()) == names
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    torch.testing.assert_close(model(torch.ones(2, 3, 4, 4)), expected)


def test_batch_norms_are_shared_between_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The conversion alone: a synchronised batch norm itself runs on GPUs only."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm2d(4)))
    names, values = list(model.state_dict()), list(model.state_dict().values())
    monkeypatch.setattr("detectron2.utils.comm.get_world_size", lambda: 2)
    kept = adapt(stand_in_config(tmp_path, "SOLVER.SYNC_BN", False), model)
    assert not any(isinstance(part, nn.SyncBatchNorm) for part in kept.modules())
    shared = adapt(stand_in_config(tmp_path), model)
    assert sum(isinstance(part, nn.SyncBatchNorm) for part in shared.modules()) == 2
    assert list(shared.state_dict()) == names
    for value, before in zip(shared.state_dict().values(), values, strict=True):
        assert torch.equal(value, before)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("SOLVER.LR_SCALING", "none"), 0.01),
        (("SOLVER.LR_SCALING", "linear"), 0.08),
        (("SOLVER.LR_SCALING", "sqrt"), 0.01 * 8**0.5),
        (("SOLVER.LR_SCALING", "linear", "SOLVER.ACCUMULATION", 1), 0.02),
    ],
)
def test_rate_of_a_larger_batch(tmp_path: Path, options: tuple[Any, ...], expected: float) -> None:
    base = {"SOLVER.IMS_PER_BATCH": 16, "SOLVER.ACCUMULATION": 4, "SOLVER.REFERENCE_BATCH": 8}
    base.update(zip(options[::2], options[1::2], strict=True))
    cfg = stand_in_config(tmp_path, *(word for pair in base.items() for word in pair))
    assert scaled_rate(cfg) == pytest.approx(expected)


def test_no_compiler_is_said_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match="there is no 'no-such-compiler'; install one"):
        Trainer(stand_in_config(tmp_path, "SOLVER.COMPILE", True), Stream)


@pytest.mark.slow
def test_a_compiled_part_trains(tmp_path: Path) -> None:
    def train(folder: str, *options: Any) -> Trainer:
        kind = ("MODEL.META_ARCHITECTURE", "certain_stand_in", "SOLVER.MAX_ITER", 3)
        trainer = Trainer(stand_in_config(tmp_path / folder, *kind, *options), Stream)
        trainer.prepare()
        trainer.train()
        return trainer

    compiled, plain = train("compiled", "SOLVER.COMPILE", True), train("plain")
    assert compiled.model.segmenter.backbone._compiled_call_impl is not None
    one, other = _weights(compiled), _weights(plain)
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_a_compiled_segmenter_trains(tmp_path: Path) -> None:
    compiled = _train(tmp_path, "MinVIS", "SOLVER.COMPILE", "True")
    plain = _train(tmp_path, "MinVIS")
    assert compiled.model.state_dict().keys() == plain.model.state_dict().keys()
    assert _losses(compiled) == pytest.approx(_losses(plain), rel=1e-3)
