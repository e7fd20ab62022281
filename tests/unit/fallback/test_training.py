"""Training loop and hooks: contract 4.7, on both sides."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.engine import HookBase, TrainerBase, hooks
from detectron2.engine.defaults import default_writers
from torch import nn


class Trainer(TrainerBase):
    """Fits one weight; `fail_at` raises in that iteration."""

    def __init__(self, fail_at: int = -1) -> None:
        super().__init__()
        self.model = nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.model.weight)
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.1)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, step_size=2)
        self.fail_at = fail_at
        self.seen: list[int] = []

    def run_step(self) -> None:
        if self.iter == self.fail_at:
            raise RuntimeError("as asked")
        loss = self.model(torch.ones(1, 1)).square().sum()
        self.optimizer.zero_grad()
        loss.backward()
        self.after_backward()
        self.optimizer.step()
        self.seen.append(self.iter)
        self.storage.put_scalar("total_loss", loss.item())


class Recorder(HookBase):
    """Writes down what is called when."""

    def __init__(self, name: str, calls: list[tuple[str, str, int]]) -> None:
        self.name, self.calls = name, calls

    def _note(self, event: str) -> None:
        assert self.trainer.storage.iter == self.trainer.iter
        self.calls.append((self.name, event, self.trainer.iter))

    def before_train(self) -> None:
        self._note("before_train")

    def after_train(self) -> None:
        self._note("after_train")

    def before_step(self) -> None:
        self._note("before_step")

    def after_backward(self) -> None:
        self._note("after_backward")

    def after_step(self) -> None:
        self._note("after_step")


class Stateful(HookBase):
    def __init__(self) -> None:
        self.value = 0

    def state_dict(self) -> dict[str, int]:
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.value = state["value"]


def test_order_of_events() -> None:
    calls: list[tuple[str, str, int]] = []
    trainer = Trainer()
    trainer.register_hooks([Recorder("a", calls), None, Recorder("b", calls)])
    trainer.train(3, 4)
    events = ["before_train", "before_step", "after_backward", "after_step"]
    expected = [(name, event, 3) for event in events for name in "ab"]
    assert calls == expected + [("a", "after_train", 4), ("b", "after_train", 4)]
    assert trainer.start_iter == 3 and trainer.max_iter == 4


def test_after_train_runs_after_an_error() -> None:
    calls: list[tuple[str, str, int]] = []
    trainer = Trainer(fail_at=1)
    trainer.register_hooks([Recorder("a", calls)])
    with pytest.raises(RuntimeError, match="as asked"):
        trainer.train(0, 5)
    assert calls[-1] == ("a", "after_train", 1)


def test_nothing_to_do_still_ends_the_run() -> None:
    calls: list[tuple[str, str, int]] = []
    trainer = Trainer()
    trainer.register_hooks([Recorder("a", calls)])
    trainer.train(4, 4)
    assert [event for _, event, _ in calls] == ["before_train", "after_train"]
    assert trainer.seen == []


def test_state_of_hooks(caplog: pytest.LogCaptureFixture) -> None:
    trainer = Trainer()
    hook = Stateful()
    hook.value = 5
    trainer.register_hooks([hook, HookBase()])
    trainer.train(0, 2)
    state = trainer.state_dict()
    assert state["iteration"] == 2 and state["hooks"] == {"Stateful": {"value": 5}}

    other = Trainer()
    other.register_hooks([Stateful()])
    state["hooks"]["Gone"] = {}
    logging.getLogger("detectron2").propagate = True
    with caplog.at_level(logging.WARNING):
        other.load_state_dict(state)
    assert other.iter == 2 and other._hooks[0].value == 5
    assert "Gone" in caplog.text


def test_lr_is_put_before_the_step() -> None:
    rates = []

    def note(trainer: Trainer) -> None:
        rates.append((*trainer.storage.latest()["lr"], trainer.scheduler.last_epoch))

    trainer = Trainer()
    trainer.register_hooks([hooks.LRScheduler(), hooks.CallbackHook(after_step=note)])
    trainer.train(0, 3)
    assert rates == [(0.1, 0, 1), (0.1, 1, 2), (pytest.approx(0.01), 2, 3)]


def test_lr_of_the_largest_or_commonest_group() -> None:
    def groups(sizes_and_rates: list[tuple[int, float]]) -> float:
        trainer = Trainer()
        trainer.optimizer = torch.optim.SGD(
            [{"params": [nn.Parameter(torch.ones(1)) for _ in range(n)], "lr": lr}
             for n, lr in sizes_and_rates], lr=1.0
        )  # fmt: skip
        trainer.optimizer.add_param_group({"params": trainer.model.parameters(), "lr": 9.0})
        scheduler = torch.optim.lr_scheduler.LambdaLR(trainer.optimizer, lambda _: 1.0)
        trainer.register_hooks([hooks.LRScheduler(scheduler=scheduler)])
        trainer.train(0, 1)
        return trainer.storage.latest()["lr"][0]

    assert groups([(1, 0.1), (3, 0.2)]) == 0.2
    assert groups([(1, 0.1), (1, 0.2), (1, 0.2)]) == 0.2


def test_iteration_timer_skips_the_warm_up() -> None:
    trainer = Trainer()
    timed = []
    trainer.register_hooks(
        [
            hooks.IterationTimer(warmup_iter=3),
            hooks.CallbackHook(after_step=lambda t: timed.append("time" in t.storage.latest())),
        ]
    )
    trainer.train(5, 10)
    assert timed == [False, False, True, True, True]


def test_evaluation_periods() -> None:
    trainer = Trainer()
    at: list[int] = []

    def evaluate() -> dict[str, Any]:
        at.append(trainer.iter)
        return {"segm": {"AP": 2.0, "more": {"x": 1}}, "n": 3}

    trainer.register_hooks([hooks.EvalHook(2, evaluate)])
    trainer.train(0, 6)
    assert at == [1, 3, 6]
    latest = trainer.storage.latest()
    assert latest["segm/AP"] == (2.0, 6) and latest["segm/more/x"] == (1.0, 6) and "n" in latest


@pytest.mark.parametrize(("period", "fail_at", "times"), [(0, -1, 1), (10, -1, 1), (0, 2, 0)])
def test_evaluation_at_the_end(period: int, fail_at: int, times: int) -> None:
    trainer = Trainer(fail_at)
    calls = []
    trainer.register_hooks([hooks.EvalHook(period, lambda: calls.append(1))])
    if fail_at < 0:
        trainer.train(0, 4)
    else:
        with pytest.raises(RuntimeError):
            trainer.train(0, 4)
    assert len(calls) == times


def test_evaluation_must_give_numbers() -> None:
    trainer = Trainer()
    trainer.register_hooks([hooks.EvalHook(0, lambda: {"segm": "good"})])
    with pytest.raises(ValueError, match="nested dict of float"):
        trainer.train(0, 1)


def full_run(folder: Path, start: int, stop: int, resume: bool = False) -> Trainer:
    """A run with all hooks, in the usual order."""
    torch.manual_seed(0)
    trainer = Trainer()
    checkpointer = DetectionCheckpointer(
        trainer.model, str(folder), trainer=trainer, optimizer=trainer.optimizer
    )
    trainer.register_hooks(
        [
            hooks.IterationTimer(),
            hooks.LRScheduler(),
            hooks.PeriodicCheckpointer(checkpointer, period=3),
            hooks.EvalHook(4, lambda: {"segm": {"AP": 1.0}}),
            hooks.PeriodicWriter(default_writers(str(folder), stop), period=2),
        ]
    )
    if resume:
        checkpointer.resume_or_load("", resume=True)
        assert trainer.iter == start - 1
    trainer.train(start, stop)
    return trainer


def test_resume_equals_one_run(tmp_path: Path) -> None:
    whole = full_run(tmp_path / "whole", 0, 8)
    full_run(tmp_path / "parts", 0, 3)
    rest = full_run(tmp_path / "parts", 3, 8, resume=True)
    assert torch.equal(whole.model.weight, rest.model.weight)
    assert whole.scheduler.state_dict() == rest.scheduler.state_dict()
    assert (tmp_path / "parts" / "last_checkpoint").read_text() == "model_final.pth"
    final = torch.load(tmp_path / "parts" / "model_final.pth")
    assert final["iteration"] == final["trainer"]["iteration"] == 7
    assert list(final["trainer"]["hooks"]) == ["LRScheduler"]


def test_files_of_a_run(tmp_path: Path) -> None:
    full_run(tmp_path, 0, 6)
    lines = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [1, 3, 5, 6]
    assert {"iteration", "lr", "total_loss", "time", "eta_seconds"} <= set(lines[2])
    assert lines[3] == {"iteration": 6, "segm/AP": 1.0}
    names = {path.name for path in tmp_path.iterdir()}
    assert {"model_0000002.pth", "model_0000005.pth", "model_final.pth"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
