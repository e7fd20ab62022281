"""What happens around a training step beside the step itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.engine import HookBase
from detectron2.utils import comm
from fvcore.common.param_scheduler import ParamScheduler

from dvis_daq.engine.checkpointer import Checkpointer
from dvis_daq.engine.random_state import random_state


class LearningRate(HookBase):
    """Sets the learning rate of each iteration and logs it as `lr`.

    The rate is a function of the iteration alone, so a resumed run has nothing to restore.

    Args:
        optimizer: its present rates are the full ones.
        schedule: share of the training that is done, 0 <= x < 1 -> factor.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, schedule: ParamScheduler) -> None:
        self._optimizer = optimizer
        self._schedule = schedule
        self._full = [group["lr"] for group in optimizer.param_groups]

    def before_step(self) -> None:
        factor = self._schedule(self.trainer.iter / self.trainer.max_iter)
        for group, rate in zip(self._optimizer.param_groups, self._full, strict=True):
            group["lr"] = rate * factor
        largest = max(self._full) * factor
        self.trainer.storage.put_scalar("lr", largest, smoothing_hint=False)


class PeriodicCheckpoints(HookBase):
    """Saves `model_<iteration>` every `period` iterations and `model_final` at the end.

    Runs on every process, because each has random generators of its own.

    Args:
        checkpointer: writes on the main process alone.
        period: in iterations.
    """

    def __init__(self, checkpointer: Checkpointer, period: int) -> None:
        self._checkpointer = checkpointer
        self._period = period

    def after_step(self) -> None:
        done = self.trainer.iter + 1
        if done == self.trainer.max_iter:
            self._save("model_final")
        elif self._period > 0 and done % self._period == 0:
            self._save(f"model_{self.trainer.iter:07d}")

    def _save(self, name: str) -> None:
        states: Sequence[dict[str, Any]] = comm.gather(random_state())
        self._checkpointer.save(name, iteration=self.trainer.iter, random=list(states))
