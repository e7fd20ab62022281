"""Numbers that are not finite, signals, and workers that die: said, saved, and gone on from."""

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.config import CfgNode

from dvis_daq.checkpoint import CheckpointError, write_weights
from dvis_daq.engine import guards
from dvis_daq.engine.dump import Dump
from dvis_daq.engine.errors import Interrupted, TrainingError
from dvis_daq.engine.replay import replay
from dvis_daq.engine.trainer import Trainer
from dvis_daq.engine.workers import dead_worker
from dvis_daq.structures import ClipTargets
from tests.unit.engine.stand_in import Stream, equal, stand_in_config, weights

SKIP = ("SOLVER.NON_FINITE", "skip")


@pytest.fixture(autouse=True)
def _propagate(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def _infinite_at(*numbers: int) -> Any:
    def build(cfg: CfgNode, start: int) -> Iterator[Any]:
        for number, batch in enumerate(Stream(cfg, start), start):
            if number in numbers:
                batch[1]["images"] = batch[1]["images"] + torch.inf
            yield batch

    return build


def _trainer(cfg: CfgNode, build: Any = Stream, *, resume: bool = False) -> Trainer:
    torch.manual_seed(7)
    trainer = Trainer(cfg, build)
    trainer.prepare(resume=resume)
    return trainer


def test_a_skipped_step_changes_nothing_but_the_place_in_the_stream(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = ("MODEL.META_ARCHITECTURE", "certain_stand_in", "SOLVER.BASE_LR", 0.01)
    trainer = _trainer(stand_in_config(tmp_path, *options, *SKIP), _infinite_at(0, 4))
    before = weights(trainer.model)
    seen: list[bool] = []
    step = trainer.run_step

    def run_step() -> None:
        old = weights(trainer.model)
        step()
        seen.append(equal(old, weights(trainer.model)))

    trainer.run_step = run_step
    trainer.train()
    assert seen == [True, False, False, False, True, False, False, False]
    assert not equal(before, weights(trainer.model))
    assert all(value.isfinite().all() for value in weights(trainer.model).values())
    assert "iteration 4, video 40 (frames [0, 1]), 41" in caplog.text
    assert trainer.storage.latest()["left_out"][0] == 2


def test_accumulation_uses_all_batches_of_a_skipped_step(tmp_path: Path) -> None:
    options = ("MODEL.META_ARCHITECTURE", "certain_stand_in", "SOLVER.ACCUMULATION", 2, *SKIP)
    drawn: list[int] = []

    def build(cfg: CfgNode, start: int) -> Iterator[Any]:
        for batch in _infinite_at(2)(cfg, start):
            drawn.append(batch[0]["video_id"])
            yield batch

    _trainer(stand_in_config(tmp_path, *options, "SOLVER.MAX_ITER", 3), build).train()
    assert drawn == [0, 10, 20, 30, 40, 50]


def test_a_training_that_only_skips_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "MAX_IN_A_ROW", 3)
    monkeypatch.setattr(guards, "MAX_DUMPS", 2)
    trainer = _trainer(stand_in_config(tmp_path, *SKIP), _infinite_at(1, 3, 4, 5))
    with pytest.raises(TrainingError, match="3 steps in a row were left out.*diverged"):
        trainer.train()
    assert trainer.iter == 5
    assert len(list((tmp_path / "non_finite").iterdir())) == 2


def test_a_dump_replays_the_step(tmp_path: Path) -> None:
    cfg = stand_in_config(tmp_path)
    with pytest.raises(TrainingError, match=r"--replay (\S+)\)") as error:
        _trainer(cfg, _infinite_at(4)).train()
    [path] = (tmp_path / "non_finite").iterdir()
    assert str(path) in str(error.value)
    found = replay(cfg, path)
    assert found.reproduced
    assert found.first_module == "segmenter.backbone"
    assert found.dump.iteration == 4
    assert "segmenter.backbone.weight" in found.gradients
    assert found.weights == []
    assert "recorded: the loss is not finite: loss_a nan, loss_b nan" in str(found)


def test_a_replay_draws_the_same_random_numbers(tmp_path: Path) -> None:
    """Dropout and a random number take part, so the losses agree only with the same draws."""
    trainer = _trainer(stand_in_config(tmp_path))
    trainer.model.queries.weight.register_hook(lambda grad: grad * torch.nan)
    losses: list[dict[str, torch.Tensor]] = []
    trainer.model.register_forward_hook(lambda *args: losses.append(args[-1]))
    with pytest.raises(TrainingError, match="iteration 0, .*a gradient is not finite"):
        trainer.train()
    [path] = (tmp_path / "non_finite").iterdir()
    torch.manual_seed(99)
    found = replay(trainer.cfg, path)
    assert found.losses == [{name: float(value.detach()) for name, value in losses[0].items()}]
    assert not found.reproduced  # the hook was of that process
    assert "NOT reproduced" in str(found)


def test_a_matching_cost_is_met_like_a_loss(tmp_path: Path) -> None:
    trainer = _trainer(stand_in_config(tmp_path, *SKIP, "SOLVER.MAX_ITER", 2))

    def fail(*_: Any) -> None:
        if trainer.iter == 0:
            raise FloatingPointError("frame 1: the mask cost of matching is not finite")

    trainer.model.register_forward_pre_hook(fail)
    trainer.train()
    [path] = (tmp_path / "non_finite").iterdir()
    assert Dump.read(path).problem == "frame 1: the mask cost of matching is not finite"


def test_dump_of_a_clip(tmp_path: Path) -> None:
    targets = ClipTargets(
        torch.tensor([1]), torch.ones(1, 2, 4, 4, dtype=torch.bool), torch.tensor([7])
    )
    video = {"images": torch.ones(2, 3, 4, 4), "targets": targets, "file_names": ["a", "b"]}
    dump = Dump(3, "why", [[video]], {"w": torch.ones(1)}, {"python": (1,)}, {2: torch.ones(1)})
    dump.write(tmp_path / "new" / "dump.pth")
    back = Dump.read(tmp_path / "new" / "dump.pth").batches[0][0]
    assert torch.equal(back["targets"].masks, targets.masks)
    assert back["targets"].ids.tolist() == [7]
    assert back["file_names"] == ["a", "b"]
    write_weights(tmp_path / "w.pth", {"w": torch.ones(1)})
    with pytest.raises(CheckpointError, match="no dump of a training step, it lacks 'iteration'"):
        Dump.read(tmp_path / "w.pth")


def _signal_at(number: int, kind: signal.Signals) -> Any:
    def build(cfg: CfgNode, start: int) -> Iterator[Any]:
        for n, batch in enumerate(Stream(cfg, start), start):
            if n == number:
                os.kill(os.getpid(), kind)
            yield batch

    return build


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("when", [2, 4])  # iteration 2 is saved anyway
def test_a_signal_saves_and_the_run_goes_on(
    tmp_path: Path, kind: signal.Signals, when: int
) -> None:
    straight = _trainer(stand_in_config(tmp_path / "a"))
    straight.train()
    cfg = stand_in_config(tmp_path / "b")
    before = signal.getsignal(kind)
    with pytest.raises(Interrupted) as stop:
        _trainer(cfg, _signal_at(when, kind)).train()
    assert signal.getsignal(kind) is before
    assert stop.value.signal_number == kind
    assert stop.value.saved == str(tmp_path / "b" / f"model_{when:07d}.pth")
    resumed = _trainer(cfg, resume=True)
    assert resumed.start_iter == when + 1
    resumed.train()
    assert equal(weights(resumed.model), weights(straight.model))


def test_a_signal_in_an_evaluation_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluate(cfg: CfgNode, model: torch.nn.Module) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("not reached")

    monkeypatch.setattr("dvis_daq.engine.trainer.evaluate", evaluate)
    cfg = stand_in_config(tmp_path, "DATASETS.TEST", "('x',)", "TEST.EVAL_PERIOD", 2)
    with pytest.raises(Interrupted) as stop:
        _trainer(cfg).train()
    assert stop.value.saved == str(tmp_path / "model_0000001.pth")
    assert _trainer(cfg, resume=True).start_iter == 2


def test_the_best_checkpoint_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = iter([float("nan"), 30.0, 20.0, 40.0])
    monkeypatch.setattr(
        "dvis_daq.engine.trainer.evaluate", lambda *_: {"segm": {"AP": next(figures), "AP50": 1.0}}
    )
    evaluated = ("DATASETS.TEST", "('x',)", "TEST.EVAL_PERIOD", 2)
    cfg = stand_in_config(tmp_path, *evaluated, "SOLVER.MAX_ITER", 6)
    _trainer(cfg).train()
    best = torch.load(tmp_path / "model_best.pth", weights_only=True)
    assert best["iteration"] == 3
    assert '"value": 30.0' in (tmp_path / "best.json").read_text()
    # the last evaluation of the whole training is the best one
    _trainer(stand_in_config(tmp_path, *evaluated), resume=True).train()
    best = torch.load(tmp_path / "model_best.pth", weights_only=True)
    assert best["iteration"] == 7
    assert (tmp_path / "last_checkpoint").read_text() == "model_final.pth"


def test_an_unknown_best_figure_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dvis_daq.engine.trainer.evaluate", lambda *_: {"segm": {"AP": 1.0}})
    options = ("DATASETS.TEST", "('x',)", "TEST.EVAL_PERIOD", 2, "TEST.BEST", "segm/XY")
    with pytest.raises(ValueError, match="TEST.BEST is 'segm/XY'; an evaluation gives segm/AP"):
        _trainer(stand_in_config(tmp_path, *options)).train()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "DataLoader worker (pid 8) is killed by signal: Killed. ",
            "data worker 1 of 2 (process 8) is",
        ),
        (
            "DataLoader worker (pid(s) 8, 9) exited unexpectedly",
            "8), data worker (process 9) exited",
        ),
        ("CUDA error: out of memory", ""),
    ],
)
def test_a_dead_data_worker_is_named(text: str, expected: str) -> None:
    said = dead_worker(RuntimeError(text), [3, 8])
    assert expected in said
    assert bool(said) == bool(expected)
