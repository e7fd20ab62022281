"""The training step, its log, and that an interrupted run goes on as if nothing had happened."""

import json
import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode

from dvis_daq.checkpoint import CheckpointError, write_weights
from dvis_daq.config import ConfigError
from dvis_daq.engine.errors import TrainingError
from dvis_daq.engine.random_state import preserved_random_state, random_state, set_random_state
from dvis_daq.engine.trainer import Trainer
from tests.unit.engine.stand_in import Stream, equal, stand_in_config, weights


def _train(cfg: CfgNode, *, resume: bool = False, build: Any = Stream) -> Trainer:
    torch.manual_seed(7)
    trainer = Trainer(cfg, build)
    trainer.prepare(resume=resume)
    trainer.train()
    return trainer


def _stop_after(iteration: int) -> Any:
    """A stream that fails like a killed process once `iteration` is done."""

    def build(cfg: CfgNode, start: int) -> Any:
        for number, batch in enumerate(Stream(cfg, start), start):
            if number > iteration:
                raise KeyboardInterrupt
            yield batch

    return build


def _metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]


def test_writes_checkpoints_and_figures(tmp_path: Path) -> None:
    trainer = _train(stand_in_config(tmp_path))
    names = {path.name for path in tmp_path.iterdir()}
    assert {"model_0000002.pth", "model_0000005.pth", "model_final.pth"} <= names
    assert (tmp_path / "last_checkpoint").read_text() == "model_final.pth"
    assert any(name.startswith("events.out.tfevents") for name in names)
    last = _metrics(tmp_path)[-1]
    assert {"total_loss", "loss_a", "loss_b", "lr", "grad_norm", "data_time"} <= last.keys()
    assert trainer.iter == 8
    saved = torch.load(tmp_path / "model_final.pth", weights_only=True)
    assert saved["iteration"] == 7
    assert equal(saved["model"], weights(trainer.model))


@pytest.mark.parametrize("stop", [2, 3, 4, 6])
@pytest.mark.parametrize("options", [(), ("SOLVER.ACCUMULATION", 2), ("SOLVER.PRECISION", "bf16")])
def test_resumed_equals_straight(tmp_path: Path, stop: int, options: tuple[Any, ...]) -> None:
    straight = _train(stand_in_config(tmp_path / "a", *options))
    cfg = stand_in_config(tmp_path / "b", *options)
    used = stop * cfg.SOLVER.ACCUMULATION
    with pytest.raises(KeyboardInterrupt):
        _train(cfg, build=_stop_after(used))
    torch.manual_seed(123)  # what another process would have
    resumed = _train(cfg, resume=True)
    assert equal(weights(resumed.model), weights(straight.model))
    states = [t.optimizer.state_dict()["state"] for t in (resumed, straight)]
    assert all(equal(a, b) for a, b in zip(*(s.values() for s in states), strict=True))


def test_resume_honours_a_longer_schedule(tmp_path: Path) -> None:
    _train(stand_in_config(tmp_path))
    trainer = _train(stand_in_config(tmp_path, "SOLVER.MAX_ITER", 12), resume=True)
    assert trainer.iter == 12
    assert trainer.start_iter == 8
    assert _metrics(tmp_path)[-1]["lr"] == pytest.approx(0.001)


def test_resume_without_a_checkpoint_starts_anew(tmp_path: Path) -> None:
    assert _train(stand_in_config(tmp_path), resume=True).start_iter == 0


def test_damaged_newest_checkpoint(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    straight = weights(_train(stand_in_config(tmp_path)).model)
    final = tmp_path / "model_final.pth"
    content = bytearray(final.read_bytes())
    content[len(content) // 2] ^= 8  # one bit
    final.write_bytes(content)
    resumed = _train(stand_in_config(tmp_path), resume=True)
    assert resumed.start_iter == 6
    assert equal(weights(resumed.model), straight)
    assert "trying the checkpoint before it" in caplog.text


def test_no_checkpoint_is_whole(tmp_path: Path) -> None:
    (tmp_path / "model_0000001.pth").write_bytes(b"noise")
    with pytest.raises(CheckpointError, match="all 1 checkpoints are damaged"):
        _train(stand_in_config(tmp_path), resume=True)


def test_weights_alone_cannot_be_resumed(tmp_path: Path) -> None:
    model = _train(stand_in_config(tmp_path / "a")).model
    (tmp_path / "b").mkdir()
    write_weights(tmp_path / "b" / "model_final.pth", model.state_dict())
    with pytest.raises(CheckpointError, match="holds weights only, no training to resume"):
        _train(stand_in_config(tmp_path / "b"), resume=True)


def test_accumulation_equals_a_larger_batch(tmp_path: Path) -> None:
    """Steps of two batches of 2 equal steps of one batch of 4."""

    def grouped(cfg: CfgNode, start: int) -> Any:
        source = iter(Stream(cfg, start))
        while True:
            yield [*next(source), *next(source)]

    options = ("MODEL.META_ARCHITECTURE", "certain_stand_in", "SOLVER.ACCUMULATION")
    twice = _train(stand_in_config(tmp_path / "a", *options, 2))
    once = _train(stand_in_config(tmp_path / "b", *options, 1), build=grouped)
    torch.testing.assert_close(twice.model.state_dict(), once.model.state_dict())


def test_bf16_trains_on_the_cpu(tmp_path: Path) -> None:
    trainer = _train(stand_in_config(tmp_path, "SOLVER.PRECISION", "bf16"))
    assert trainer.precision.autocast().fast_dtype is torch.bfloat16
    assert all(p.dtype is torch.float32 for p in trainer.model.parameters())


def test_fp16_needs_a_gpu(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fp16 needs a GPU, but MODEL.DEVICE is cpu"):
        Trainer(stand_in_config(tmp_path, "SOLVER.PRECISION", "fp16"), Stream)


def test_stops_at_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    def build(cfg: CfgNode, start: int) -> Any:
        for number, batch in enumerate(Stream(cfg, start)):
            if number == 4:
                batch[1]["images"] += torch.inf
            yield batch

    with pytest.raises(
        TrainingError,
        match=r"iteration 4, video 40 .*, 41 \(frames \[0, 1\]\): "
        r"the loss is not finite: loss_a nan, loss_b nan",
    ):
        _train(stand_in_config(tmp_path), build=build)
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000002.pth"


def test_stops_at_a_gradient_that_is_not_finite(tmp_path: Path) -> None:
    trainer = Trainer(stand_in_config(tmp_path), Stream)
    trainer.prepare()
    trainer.model.queries.weight.register_hook(lambda grad: grad * torch.nan)
    before = weights(trainer.model)
    with pytest.raises(TrainingError, match="iteration 0, .*a gradient is not finite"):
        trainer.train()
    assert equal(weights(trainer.model), before)


def test_weights_of_another_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trained = _train(stand_in_config(tmp_path / "a")).model
    path = tmp_path / "a" / "model_final.pth"
    trainer = Trainer(stand_in_config(tmp_path / "b", "MODEL.WEIGHTS", path), Stream)
    trainer.prepare()
    assert equal(weights(trainer.model), weights(trained))
    assert trainer.start_iter == 0


def test_missing_weights(tmp_path: Path) -> None:
    trainer = Trainer(stand_in_config(tmp_path, "MODEL.WEIGHTS", "nowhere.pth"), Stream)
    with pytest.raises(FileNotFoundError, match="nowhere.pth: no such checkpoint"):
        trainer.prepare()


def test_unknown_recipe_and_device(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="META_ARCHITECTURE is 'Nope'; choose one of"):
        Trainer(stand_in_config(tmp_path, "MODEL.META_ARCHITECTURE", "Nope"), Stream)
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="there is no GPU; set MODEL.DEVICE cpu"):
            Trainer(stand_in_config(tmp_path, "MODEL.DEVICE", "cuda"), Stream)


def test_evaluation_does_not_move_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def evaluate(cfg: CfgNode, model: torch.nn.Module) -> dict[str, Any]:
        calls.append(
            torch.rand(1),
        )
        return {"vis": {"AP": 0.5}}

    monkeypatch.setattr("dvis_daq.engine.trainer.evaluate", evaluate)
    options = ("DATASETS.TEST", "('x',)", "TEST.EVAL_PERIOD", 3)
    with_it = _train(stand_in_config(tmp_path / "a", *options))
    without = _train(stand_in_config(tmp_path / "b"))
    assert len(calls) == 3
    assert equal(weights(with_it.model), weights(without.model))
    assert any(line.get("vis/AP") == 0.5 for line in _metrics(tmp_path / "a"))


def test_random_state_covers_all_generators() -> None:
    state = random_state()
    drawn = random.random(), np.random.rand(), torch.rand(1)
    with preserved_random_state():
        random.random(), np.random.rand(), torch.rand(1)
    set_random_state(state)
    assert (random.random(), np.random.rand(), torch.rand(1)) == drawn


@pytest.fixture(autouse=True)
def _propagate(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
