"""Makes a step that went wrong once more, from its dump, and says where it goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from dvis_daq.checkpoint import load_state
from dvis_daq.engine.costs import tensors_of
from dvis_daq.engine.dump import Dump, places
from dvis_daq.engine.precision import Precision
from dvis_daq.engine.random_state import set_random_state
from dvis_daq.engine.setup import build_model


@dataclass(frozen=True)
class Findings:
    """What a replay has seen.

    Attributes:
        dump: what was replayed.
        losses: by name, of each round.
        error: of matching, '' if there was none.
        first_module: whose output is the first that is not finite; '' if all are.
        weights: names of the weights that are not finite before the step.
        gradients: names of the parameters whose gradient is not finite.
    """

    dump: Dump
    losses: list[dict[str, float]]
    error: str
    first_module: str
    weights: list[str]
    gradients: list[str]

    @property
    def reproduced(self) -> bool:
        return bool(self.error or self.first_module or self.weights or self.gradients)

    def __str__(self) -> str:
        lines = [
            f"iteration {self.dump.iteration}, video {places(self.dump.batches)}",
            f"recorded: {self.dump.problem}",
        ]
        for index, losses in enumerate(self.losses):
            shown = ", ".join(f"{name} {value:.6g}" for name, value in losses.items())
            lines.append(f"losses of round {index}: {shown}")
        if self.error:
            lines.append(f"matching: {self.error}")
        lines.append(f"weights that are not finite before the step: {_shown(self.weights)}")
        lines.append(f"first module with an output that is not finite: {self.first_module or '-'}")
        lines.append(f"gradients that are not finite: {_shown(self.gradients)}")
        lines.append("reproduced" if self.reproduced else "NOT reproduced: all numbers are finite")
        return "\n".join(lines)


def replay(cfg: CfgNode, path: Path) -> Findings:
    """Repeats the forward and backward passes of a dump; nothing is trained.

    Args:
        cfg: of the training, e.g. config.yaml of its OUTPUT_DIR.
        path: of the dump.

    Raises:
        CheckpointError, FileNotFoundError: the dump cannot be read, or is of another model.
    """
    dump = Dump.read(path)
    model = build_model(cfg).train()
    load_state(model, dump.model, source=str(path))
    objective = getattr(model, "objective", None)
    if dump.objective and hasattr(objective, "load_state_dict"):
        objective.load_state_dict(dump.objective)
    weights = [n for n, value in model.state_dict().items() if not value.isfinite().all()]
    precision = Precision(cfg.SOLVER.PRECISION, next(model.parameters()).device)
    set_random_state(dict(dump.random))
    losses: list[dict[str, float]] = []
    error = ""
    with _first_non_finite(model) as first, EventStorage(dump.iteration):
        try:
            for batch in dump.batches:
                losses.append(_pass(model, batch, precision, len(dump.batches)))
        except FloatingPointError as raised:
            error = str(raised)
    return Findings(dump, losses, error, first[0] if first else "", weights, _wrong(model))


def _pass(model: nn.Module, batch: Any, precision: Precision, rounds: int) -> dict[str, float]:
    with precision.autocast():
        losses: dict[str, Tensor] = model(batch)
    precision.backward(sum(losses.values()) / rounds)
    return {name: float(value.detach()) for name, value in losses.items()}


@contextmanager
def _first_non_finite(model: nn.Module) -> Iterator[list[str]]:
    """A list that gets the names of modules whose output is not finite, innermost first."""
    found: list[str] = []

    def look(name: str, output: Any) -> None:
        values = tensors_of(list(output.values()) if isinstance(output, dict) else output)
        if not all(value.isfinite().all() for value in values):
            found.append(name)

    handles = [
        module.register_forward_hook(lambda _, __, output, name=name: look(name, output))
        for name, module in model.named_modules()
        if name
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _wrong(model: nn.Module) -> list[str]:
    return [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and not parameter.grad.isfinite().all()
    ]


def _shown(names: list[str]) -> str:
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return (", ".join(names[:6]) or "-") + more
