"""One update of the weights: forward, backward, clip, step, and what may go wrong."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dvis_daq.engine.dump import Dump
from dvis_daq.engine.guards import NonFiniteGuard
from dvis_daq.engine.precision import Precision
from dvis_daq.engine.random_state import random_state

Batch = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class StepResult:
    """What there is to log of a step.

    Attributes:
        losses: scalars, means over the rounds.
        grad_norm: of all gradients, before clipping.
        waited: seconds for data.
    """

    losses: dict[str, Tensor]
    grad_norm: float
    waited: float


class TrainingStep:
    """Draws `rounds` batches and makes one step of the optimiser of them.

    Args:
        model: batch -> losses by name; bare or in DistributedDataParallel.
        optimizer: of its parameters.
        precision: of the forward pass.
        clip: clips the gradients, returns their norm before.
        rounds: batches a step.
        guard: decides what becomes of numbers that are not finite.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        precision: Precision,
        clip: Callable[[], Tensor],
        rounds: int,
        guard: NonFiniteGuard,
    ) -> None:
        self._model = model
        self._optimizer = optimizer
        self._precision = precision
        self._clip = clip
        self._rounds = rounds
        self._guard = guard

    def __call__(self, batches: Iterator[Batch], iteration: int) -> StepResult | None:
        """Makes the step.

        Returns:
            None if the step was left out; its batches are used up all the same.

        Raises:
            TrainingError: a number is not finite, and the training ends.
        """
        random, drawn = random_state(), []
        sums: dict[str, Tensor] = {}
        problem, sound, waited = "", True, 0.0
        for index in range(self._rounds):
            start = time.perf_counter()
            drawn.append(next(batches))
            waited += time.perf_counter() - start
            if sound:
                with self._communicates(index == self._rounds - 1):
                    problem, sound = self._accumulate(drawn[-1], sums)

        norm = math.nan
        if sound:
            problem, norm = self._update()
            sound = not problem
        self._optimizer.zero_grad(set_to_none=True)
        if not sound:
            self._guard.met(problem, lambda text: self._dump(text, iteration, drawn, random))
            return None
        return StepResult(sums, norm, waited)

    def _accumulate(self, batch: Batch, sums: dict[str, Tensor]) -> tuple[str, bool]:
        """Adds gradients and losses of one batch.

        Returns:
            What is wrong in this process, and whether nothing is in any.
        """
        problem, losses = self._forward(batch)
        if self._guard.anywhere(problem):
            return problem, False
        self._precision.backward(sum(losses.values()) / self._rounds)
        for name, value in losses.items():
            sums[name] = sums.get(name, 0) + value.detach() / self._rounds
        return "", True

    def _forward(self, batch: Batch) -> tuple[str, dict[str, Tensor]]:
        try:
            with self._precision.autocast():
                losses = self._model(batch)
        except FloatingPointError as error:  # of matching, which is done with the forward pass
            return str(error), {}
        if torch.stack([loss.detach().float() for loss in losses.values()]).isfinite().all():
            return "", losses
        wrong = ", ".join(f"{k} {v.item()}" for k, v in losses.items() if not v.isfinite())
        return f"the loss is not finite: {wrong}", losses

    def _update(self) -> tuple[str, float]:
        """Returns what is wrong, and the norm of the gradients."""
        scaler = self._precision.scaler
        scaler.unscale_(self._optimizer)
        norm = self._clip().item()
        finite = math.isfinite(norm)
        if not finite and not scaler.is_enabled():
            return "a gradient is not finite", norm
        scaler.step(self._optimizer)  # leaves the step out where a gradient is not finite
        scaler.update()
        if finite:
            self._guard.fine()
        else:
            self._guard.out_of_range()
        return "", norm

    def _dump(self, problem: str, iteration: int, drawn: list[Batch], random: Any) -> Dump:
        module = getattr(self._model, "module", self._model)
        objective = getattr(module, "objective", None)
        state = objective.state_dict() if hasattr(objective, "state_dict") else {}
        return Dump(iteration, problem, drawn, module.state_dict(), random, state)

    def _communicates(self, last: bool) -> AbstractContextManager[None]:
        """Processes exchange gradients only in the last round of a step."""
        if last or not isinstance(self._model, nn.parallel.DistributedDataParallel):
            return nullcontext()
        return self._model.no_sync()
