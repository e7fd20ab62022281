"""Hooks for times, learning rates, checkpoints, evaluation and writers."""

from __future__ import annotations

import datetime
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from fvcore.common.checkpoint import PeriodicCheckpointer as _PeriodicCheckpointer
from fvcore.common.timer import Timer
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler as _Scheduler

from detectron2.engine.train_loop import HookBase, TrainerBase
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.utils import comm
from detectron2.utils.events import EventWriter

__all__ = [
    "CallbackHook",
    "EvalHook",
    "IterationTimer",
    "LRScheduler",
    "PeriodicCheckpointer",
    "PeriodicWriter",
]


class CallbackHook(HookBase):
    """Calls functions with the trainer.

    Args:
        before_train: see `HookBase`; each may be None.
        after_train: likewise.
        before_step: likewise.
        after_step: likewise.
    """

    def __init__(
        self,
        *,
        before_train: Callable[[TrainerBase], None] | None = None,
        after_train: Callable[[TrainerBase], None] | None = None,
        before_step: Callable[[TrainerBase], None] | None = None,
        after_step: Callable[[TrainerBase], None] | None = None,
    ) -> None:
        self._before_train = before_train
        self._after_train = after_train
        self._before_step = before_step
        self._after_step = after_step

    def before_train(self) -> None:
        self._call(self._before_train)

    def after_train(self) -> None:
        self._call(self._after_train)
        # a function may hold the trainer, which would keep both alive
        self._before_train = self._after_train = self._before_step = self._after_step = None

    def before_step(self) -> None:
        self._call(self._before_step)

    def after_step(self) -> None:
        self._call(self._after_step)

    def _call(self, function: Callable[[TrainerBase], None] | None) -> None:
        if function is not None:
            function(self.trainer)


class IterationTimer(HookBase):
    """Puts the seconds of each iteration as `time`, and logs the speed of the run.

    Args:
        warmup_iter: number of first iterations that do not count.
    """

    def __init__(self, warmup_iter: int = 3) -> None:
        self._warmup_iter = warmup_iter
        self._step = Timer()
        self._total = Timer()  # iterations without hooks
        self._start = time.perf_counter()

    def before_train(self) -> None:
        self._start = time.perf_counter()
        self._total.reset()
        self._total.pause()

    def before_step(self) -> None:
        self._step.reset()
        self._total.resume()

    def after_step(self) -> None:
        done = self.trainer.iter - self.trainer.start_iter + 1
        if done >= self._warmup_iter:
            self.trainer.storage.put_scalars(time=self._step.seconds())
        else:
            self._start = time.perf_counter()
            self._total.reset()
        self._total.pause()

    def after_train(self) -> None:
        logger = logging.getLogger(__name__)
        total = time.perf_counter() - self._start
        steps = self._total.seconds()
        counted = self.trainer.iter - self.trainer.start_iter - self._warmup_iter
        if counted > 0 and steps > 0:
            logger.info(
                "Overall training speed: %d iterations in %s (%.4f s / it)",
                counted,
                _clock(steps),
                steps / counted,
            )
        logger.info("Total training time: %s (%s on hooks)", _clock(total), _clock(total - steps))


def _clock(seconds: float) -> datetime.timedelta:
    return datetime.timedelta(seconds=int(seconds))


class PeriodicWriter(HookBase):
    """Lets writers write every `period` iterations and at the end, then closes them.

    Args:
        writers: the writers.
        period: in iterations.
    """

    def __init__(self, writers: Sequence[EventWriter], period: int = 20) -> None:
        self._writers = list(writers)
        self._period = period

    def after_step(self) -> None:
        done = self.trainer.iter + 1
        if done % self._period == 0 or done == self.trainer.max_iter:
            for writer in self._writers:
                writer.write()

    def after_train(self) -> None:
        for writer in self._writers:
            writer.write()  # what other hooks have put since
            writer.close()


class PeriodicCheckpointer(_PeriodicCheckpointer, HookBase):
    """fvcore's `PeriodicCheckpointer` as a hook."""

    def before_train(self) -> None:
        self.max_iter = self.trainer.max_iter

    def after_step(self) -> None:
        self.step(self.trainer.iter)


class LRScheduler(HookBase):
    """Puts the learning rate as `lr`, then steps the scheduler.

    Args:
        optimizer: the trainer's if None.
        scheduler: one of `torch.optim.lr_scheduler`, the trainer's if None.
    """

    def __init__(
        self, optimizer: Optimizer | None = None, scheduler: _Scheduler | None = None
    ) -> None:
        self._optimizer = optimizer
        self._scheduler = scheduler

    @property
    def scheduler(self) -> _Scheduler:
        """The scheduler in use."""
        return self._scheduler or self.trainer.scheduler

    def before_train(self) -> None:
        self._optimizer = self._optimizer or self.trainer.optimizer
        self._group = _main_group(self._optimizer)

    def after_step(self) -> None:
        rate = self._optimizer.param_groups[self._group]["lr"]
        self.trainer.storage.put_scalar("lr", rate, smoothing_hint=False)
        self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        return self.scheduler.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the scheduler."""
        logging.getLogger(__name__).info("Loading scheduler from state_dict ...")
        self.scheduler.load_state_dict(state_dict)


def _main_group(optimizer: Optimizer) -> int:
    """The largest group, or one with the commonest rate if each holds one parameter."""
    groups = optimizer.param_groups
    sizes = [len(group["params"]) for group in groups]
    if max(sizes) > 1:
        return sizes.index(max(sizes))
    rates = [group["lr"] for group in groups]
    return rates.index(Counter(rates).most_common(1)[0][0])


class EvalHook(HookBase):
    """Evaluates every `eval_period` iterations and after the last one, and puts the results.

    Args:
        eval_period: in iterations; 0 for only after the last.
        eval_function: returns a nested dict of numbers.
        eval_after_train: whether to evaluate after the last iteration.
    """

    def __init__(
        self,
        eval_period: int,
        eval_function: Callable[[], dict[str, Any] | None],
        eval_after_train: bool = True,
    ) -> None:
        self._period = eval_period
        self._function = eval_function
        self._after_train = eval_after_train

    def after_step(self) -> None:
        done = self.trainer.iter + 1
        due = self._period > 0 and done % self._period == 0
        if due and done != self.trainer.max_iter:  # the last one waits for after_train
            self._evaluate()

    def after_train(self) -> None:
        if self._after_train and self.trainer.iter + 1 >= self.trainer.max_iter:
            self._evaluate()
        del self._function  # it often holds the trainer

    def _evaluate(self) -> None:
        results = self._function()
        if results:
            flat = flatten_results_dict(results)
            for name, value in flat.items():
                self.trainer.storage.put_scalar(name, _number(name, value), smoothing_hint=False)
        comm.synchronize()  # an evaluation may take unequally long


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"[EvalHook] eval_function should return a nested dict of float. Got '{name}: {value}'"
        ) from error
