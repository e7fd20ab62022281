"""What happens around a training step beside the step itself."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.engine import HookBase
from detectron2.utils import comm
from fvcore.common.param_scheduler import ParamScheduler

from dvis_daq.checkpoint import write_atomically
from dvis_daq.config import ConfigError
from dvis_daq.engine.agreement import largest
from dvis_daq.engine.checkpointer import Checkpointer
from dvis_daq.engine.errors import Interrupted
from dvis_daq.engine.interrupts import StopWish
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
        objective: its state, where it has one, is another in every process.
    """

    def __init__(self, checkpointer: Checkpointer, period: int, objective: Any = None) -> None:
        self._checkpointer = checkpointer
        self._period = period
        self._objective = objective
        self._newest: tuple[int, str] = (-1, "")

    def after_step(self) -> None:
        done = self.trainer.iter + 1
        if done == self.trainer.max_iter:
            self.save("model_final")
        elif self._period > 0 and done % self._period == 0:
            self.save_now()

    def save_now(self) -> str:
        """Saves the iteration that is done, unless it is saved already; returns the file."""
        if self._newest[0] != self._done():
            self.save(f"model_{self._done():07d}")
        return self._newest[1]

    def save(self, name: str, *, tag: bool = True) -> None:
        """Saves under a name, see `Checkpointer.save`."""
        own = {"random": random_state(), "objective": _state_of(self._objective)}
        states: Sequence[dict[str, Any]] = comm.gather(own)
        of_ranks = {key: [state[key] for state in states] for key in own}
        self._checkpointer.save(name, tag=tag, iteration=self._done(), **of_ranks)
        if tag:
            self._newest = self._done(), str(Path(self._checkpointer.save_dir, f"{name}.pth"))

    def _done(self) -> int:
        """The last iteration that is done; the trainer's is one further once it has ended."""
        return min(self.trainer.iter, self.trainer.max_iter - 1)


class BestCheckpoint(HookBase):
    """Keeps `model_best`, the checkpoint with the highest figure, and what it was in `best.json`.

    Args:
        checkpoints: saves.
        folder: of the checkpoints.
        figure: name of the figure in the log, e.g. `segm/AP`; '' takes the first one of the first
            evaluation.
    """

    def __init__(self, checkpoints: PeriodicCheckpoints, folder: Path, figure: str = "") -> None:
        self._checkpoints = checkpoints
        self._file = folder / "best.json"
        self._figure = figure
        self._results: dict[str, float] | None = None

    def evaluated(self, results: Mapping[str, Any]) -> None:
        """Takes the results of an evaluation, as `engine.evaluate` gives them."""
        self._results = dict(_flat(results))

    def after_step(self) -> None:
        self._keep()

    def after_train(self) -> None:
        self._keep()

    def _keep(self) -> None:
        if self._results is None:
            return
        better = comm.all_gather(self._better(self._results))[0]
        self._results = None
        if better is None:
            return
        self._checkpoints.save("model_best", tag=False)
        if comm.is_main_process():
            content = json.dumps(better, indent=2).encode()
            write_atomically(self._file, lambda file: file.write(content))

    def _better(self, results: Mapping[str, float]) -> dict[str, Any] | None:
        """What goes into the file, None if the results are no better or there are none."""
        if not results:
            return None
        name = self._figure or next(iter(results))
        if name not in results:
            raise ConfigError(f"TEST.BEST is {name!r}; an evaluation gives {', '.join(results)}")
        best = json.loads(self._file.read_text()) if self._file.is_file() else {}
        same = best.get("figure") == name
        if math.isnan(results[name]) or (same and results[name] <= best["value"]):
            return None
        return {"figure": name, "value": results[name], "iteration": self.trainer.iter}


class StopOnSignal(HookBase):
    """Saves and ends the training after the iteration in which a process got a signal.

    Args:
        wish: of this process.
        checkpoints: saves.
        device: see `agreement.largest`.
    """

    def __init__(
        self, wish: StopWish, checkpoints: PeriodicCheckpoints, device: torch.device
    ) -> None:
        self._wish = wish
        self._checkpoints = checkpoints
        self._device = device

    def after_step(self) -> None:
        number = largest(self._wish.signal_number, self._device)
        if number and self.trainer.iter + 1 < self.trainer.max_iter:
            raise Interrupted(number, self._checkpoints.save_now())


def _state_of(part: Any) -> dict[Any, Any]:
    """The state of a part that may have none, in main memory."""
    state = part.state_dict() if hasattr(part, "state_dict") else {}
    return {key: value.cpu() for key, value in state.items()}


def _flat(results: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Nested results as the log names them."""
    for name, value in results.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", float(value)
