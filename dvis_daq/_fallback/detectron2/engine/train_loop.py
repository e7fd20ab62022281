"""The loop over iterations, and the hooks around each."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from detectron2.utils.events import EventStorage

__all__ = ["HookBase", "TrainerBase"]


class HookBase:
    """Something that happens around the iterations; `trainer` is set when it is registered.

    `trainer.iter` is the iteration that runs, in `after_train` the number of iterations, or the
    one that failed.
    """

    trainer: TrainerBase

    def before_train(self) -> None:
        """Before the first iteration."""

    def after_train(self) -> None:
        """After the last iteration, and after an error."""

    def before_step(self) -> None:
        """Before each iteration."""

    def after_backward(self) -> None:
        """Inside an iteration, between backward and the step of the optimizer."""

    def after_step(self) -> None:
        """After each iteration."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint has to keep; hooks that return something define `load_state_dict`."""
        return {}


class TrainerBase:
    """Runs `run_step` and the hooks; a subclass defines what an iteration is.

    Attributes:
        iter: the iteration, counted from 0.
        start_iter: the first one of this run.
        max_iter: the one to stop before.
        storage: the events of this run.
    """

    iter: int
    start_iter: int
    max_iter: int
    storage: EventStorage

    def __init__(self) -> None:
        self._hooks: list[HookBase] = []
        self.iter = 0
        self.start_iter = 0

    def register_hooks(self, hooks: Sequence[HookBase | None]) -> None:
        """Adds hooks, which run in this order; None is skipped."""
        added = [hook for hook in hooks if hook is not None]
        for hook in added:
            hook.trainer = weakref.proxy(self)  # no circle: a trainer is freed when dropped
        self._hooks.extend(added)

    def train(self, start_iter: int, max_iter: int) -> None:
        """Runs iterations `start_iter` to `max_iter - 1`; works once per trainer."""
        logger = logging.getLogger(__name__)
        logger.info("Starting training from iteration %d", start_iter)
        self.iter = self.start_iter = start_iter
        self.max_iter = max_iter
        with EventStorage(start_iter) as self.storage:
            try:
                self.before_train()
                for self.iter in range(start_iter, max_iter):
                    self.before_step()
                    self.run_step()
                    self.after_step()
                self.iter += 1  # hooks tell by this that no iteration failed
            except Exception:
                logger.exception("Exception during training:")
                raise
            finally:
                self.after_train()

    def run_step(self) -> None:
        """One iteration."""
        raise NotImplementedError

    def before_train(self) -> None:
        """Runs the hooks."""
        for hook in self._hooks:
            hook.before_train()

    def after_train(self) -> None:
        """Runs the hooks."""
        self.storage.iter = self.iter
        for hook in self._hooks:
            hook.after_train()

    def before_step(self) -> None:
        """Runs the hooks."""
        self.storage.iter = self.iter
        for hook in self._hooks:
            hook.before_step()

    def after_backward(self) -> None:
        """Runs the hooks; `run_step` has to call it."""
        for hook in self._hooks:
            hook.after_backward()

    def after_step(self) -> None:
        """Runs the hooks."""
        for hook in self._hooks:
            hook.after_step()

    def state_dict(self) -> dict[str, Any]:
        """The iteration and the states of the hooks, by class; the first of a class counts."""
        hooks: dict[str, Any] = {}
        for hook in self._hooks:
            state = hook.state_dict()
            if state:
                hooks.setdefault(type(hook).__qualname__, state)
        return {"iteration": self.iter, **({"hooks": hooks} if hooks else {})}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restores what `state_dict` gave; states of absent hooks are reported and dropped."""
        self.iter = state_dict["iteration"]
        for name, state in state_dict.get("hooks", {}).items():
            hook = next((hook for hook in self._hooks if type(hook).__qualname__ == name), None)
            if hook is None:
                logging.getLogger(__name__).warning(
                    "Cannot find the hook '%s', its state_dict is ignored.", name
                )
            else:
                hook.load_state_dict(state)
