"""Training: one explicit step, and hooks for everything around it."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.engine import HookBase, TrainerBase, create_ddp_model, hooks
from detectron2.utils import comm
from detectron2.utils.events import CommonMetricPrinter, JSONWriter, TensorboardXWriter
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dvis_daq.data.loader import build_train_loader
from dvis_daq.engine.adaptation import adapt
from dvis_daq.engine.checkpointer import Checkpointer
from dvis_daq.engine.errors import Interrupted, TrainingError
from dvis_daq.engine.evaluate import evaluate
from dvis_daq.engine.guards import NonFiniteGuard
from dvis_daq.engine.hooks import (
    BestCheckpoint,
    LearningRate,
    PeriodicCheckpoints,
    StopOnSignal,
)
from dvis_daq.engine.interrupts import StopWish
from dvis_daq.engine.manifest import Manifest
from dvis_daq.engine.optimizer import build_lr_scheduler, build_optimizer, clip_gradients
from dvis_daq.engine.precision import Precision
from dvis_daq.engine.random_state import preserved_random_state, set_random_state
from dvis_daq.engine.setup import build_model
from dvis_daq.engine.start import learning_parts, load_start_weights, start_file
from dvis_daq.engine.step import Batch, TrainingStep
from dvis_daq.engine.workers import data_workers, dead_worker, end_with_this_process

logger = logging.getLogger(__name__)

_LOG_PERIOD = 20  # iterations
_DDP_OPTIONS = inspect.signature(DistributedDataParallel).parameters
# Whether the main process sends its buffers before every forward pass; torch 2.14 renamed it.
_SEND_BUFFERS = next(
    name for name in ("forward_sync_buffers", "broadcast_buffers") if name in _DDP_OPTIONS
)

BuildLoader = Callable[[CfgNode, int], Iterable[Batch]]


class Trainer(TrainerBase):
    """Trains the model of a configuration.

    Args:
        cfg: the whole configuration.
        build_loader: (cfg, number of batches already used) -> endless iterable of the batches of
            this process.
    """

    def __init__(self, cfg: CfgNode, build_loader: BuildLoader = build_train_loader) -> None:
        super().__init__()
        self.cfg = cfg
        self.start_iter = 0
        self.max_iter = cfg.SOLVER.MAX_ITER
        self._build_loader = build_loader
        self._random: dict[str, Any] | None = None
        self._workers: list[int] = []
        self._left_out = 0
        module = adapt(cfg, build_model(cfg))
        self.optimizer = build_optimizer(cfg, module)
        self._device = device = next(module.parameters()).device
        self.precision = Precision(cfg.SOLVER.PRECISION, device)
        # Not every parameter has a share in every loss: re-id heads, or stages of a training.
        self.model = create_ddp_model(
            module.train(),
            device_ids=None if device.index is None else [device.index],  # None: on the CPU
            **{_SEND_BUFFERS: False},
            find_unused_parameters=True,
        )
        self._objective = getattr(module, "objective", None)
        self._wish = StopWish()
        self.checkpointer = Checkpointer(
            module, cfg.OUTPUT_DIR, keep=cfg.SOLVER.KEEP_CHECKPOINTS, trainer=self
        )
        self._checkpoints = PeriodicCheckpoints(
            self.checkpointer, cfg.SOLVER.CHECKPOINT_PERIOD, self._objective
        )
        self._best = BestCheckpoint(self._checkpoints, Path(cfg.OUTPUT_DIR), cfg.TEST.BEST)
        self._step = self._make_step()
        self.register_hooks(self._make_hooks())
        logger.info("Learning: %s", _learning_summary(module))

    def prepare(self, *, resume: bool = False, trust: bool = False) -> None:
        """Loads weights, or the state of an interrupted training, and opens the data.

        Args:
            resume: start from the last checkpoint of OUTPUT_DIR if there is one, else from
                MODEL.WEIGHTS.
            trust: whatever MODEL.WEIGHTS holds is executed, see `read_checkpoint`.

        Raises:
            CheckpointError, FileNotFoundError: the weights cannot be used.
            ValueError: the data cannot be used.
        """
        rest = self.checkpointer.resume() if resume else None
        if rest is not None:
            self.start_iter = rest["iteration"] + 1
            self._restore_own(rest)
            logger.info("Going on with iteration %d", self.start_iter)
        else:
            load_start_weights(self.cfg, self.checkpointer.model, trust=trust)
        done = self.start_iter * self.cfg.SOLVER.ACCUMULATION
        self._loader = self._build_loader(self.cfg, done)

    def train(self) -> None:
        """Runs the remaining iterations; `prepare` comes first.

        Raises:
            TrainingError: it cannot go on.
            Interrupted: a signal has ended it; what is done is saved.
        """
        try:
            with self._wish.listening():
                super().train(self.start_iter, self.max_iter)
        except RuntimeError as error:
            died = dead_worker(error, self._workers)
            if not died:
                raise
            raise TrainingError(f"iteration {self.iter}: {died}") from error

    def before_train(self) -> None:
        super().before_train()
        end_with_this_process()
        self._batches = iter(self._loader)
        if self._random is not None:  # last, because a loader draws numbers when it starts
            set_random_state(self._random)

    def run_step(self) -> None:
        """One update of the weights, from `SOLVER.ACCUMULATION` batches."""
        result = self._step(self._batches, self.iter)
        if not self._workers:
            self._workers = data_workers()
        if result is None:
            self._left_out += 1
            self.storage.put_scalar("left_out", self._left_out, smoothing_hint=False)
        else:
            self.storage.put_scalar("grad_norm", result.grad_norm)
            self._log(result.losses, result.waited)

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        state["optimizer"] = self.optimizer.state_dict()
        state["scaler"] = self.precision.scaler.state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.optimizer.load_state_dict(state_dict["optimizer"])
        self.precision.scaler.load_state_dict(state_dict["scaler"])

    def _make_step(self) -> TrainingStep:
        cfg = self.cfg
        return TrainingStep(
            self.model,
            self.optimizer,
            precision=self.precision,
            clip=lambda: clip_gradients(cfg, self.optimizer),
            rounds=cfg.SOLVER.ACCUMULATION,
            guard=NonFiniteGuard(
                cfg.SOLVER.NON_FINITE, Path(cfg.OUTPUT_DIR, "non_finite"), self._device
            ),
        )

    def _make_hooks(self) -> list[HookBase]:
        """In the order in which they run; writers last, so that they see what others put."""
        cfg = self.cfg
        made: list[HookBase] = [
            hooks.IterationTimer(),
            LearningRate(self.optimizer, build_lr_scheduler(cfg)),
            self._checkpoints,
            StopOnSignal(self._wish, self._checkpoints, self._device),
        ]
        if cfg.DATASETS.TEST:
            made += [hooks.EvalHook(cfg.TEST.EVAL_PERIOD, self._evaluate), self._best]
        if comm.is_main_process():
            folder = Path(cfg.OUTPUT_DIR)
            folder.mkdir(parents=True, exist_ok=True)
            made.append(Manifest(cfg, start_file(cfg)))
            writers = [
                CommonMetricPrinter(self.max_iter),
                JSONWriter(str(folder / "metrics.json")),
                TensorboardXWriter(str(folder)),
            ]
            made.append(hooks.PeriodicWriter(writers, _LOG_PERIOD))
        return made

    def _evaluate(self) -> dict[str, Any]:
        # Several processes end together, after the evaluation.
        listening = self._wish.at_once() if comm.get_world_size() == 1 else nullcontext()
        try:
            # A run that is resumed after this evaluation must draw the same numbers.
            with preserved_random_state(), listening:
                results = evaluate(self.cfg, self.checkpointer.model)
        except Interrupted as stop:
            raise Interrupted(stop.signal_number, self._checkpoints.save_now()) from None
        self._best.evaluated(results)
        return results

    def _log(self, losses: Mapping[str, Tensor], waited: float) -> None:
        """Puts the losses and the seconds of waiting for data, averaged over processes."""
        values = {name: value.float() for name, value in losses.items()}
        values["data_time"] = next(iter(values.values())).new_tensor(waited)
        mean = {name: value.item() for name, value in comm.reduce_dict(values).items()}
        if comm.is_main_process():
            data_time = mean.pop("data_time")
            self.storage.put_scalars(total_loss=sum(mean.values()), data_time=data_time, **mean)

    def _restore_own(self, of_ranks: Mapping[str, Sequence[Any]]) -> None:
        """What each process has for itself: random generators, and what its losses remember."""
        saved, now, rank = len(of_ranks["random"]), comm.get_world_size(), comm.get_rank()
        if saved == now:
            self._random = of_ranks["random"][rank]
        else:
            logger.warning(
                "The checkpoint is of %d processes, this run has %d: random numbers differ",
                saved,
                now,
            )
        if hasattr(self._objective, "load_state_dict"):
            self._objective.load_state_dict(of_ranks["objective"][rank % saved])


def _learning_summary(model: nn.Module) -> str:
    total, learning = (
        sum(p.numel() for p in model.parameters() if p.requires_grad or not only) / 1e6
        for only in (False, True)
    )
    return f"{', '.join(learning_parts(model))} ({learning:.2f} M of {total:.2f} M parameters)"
