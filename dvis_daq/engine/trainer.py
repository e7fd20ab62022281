"""Training: one explicit step, and hooks for everything around it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.engine import HookBase, TrainerBase, create_ddp_model, hooks
from detectron2.utils import comm
from detectron2.utils.events import CommonMetricPrinter, JSONWriter, TensorboardXWriter
from torch import Tensor, nn

from dvis_daq.checkpoint import load_weights
from dvis_daq.data.loader import build_train_loader
from dvis_daq.engine.checkpointer import Checkpointer
from dvis_daq.engine.evaluate import evaluate
from dvis_daq.engine.hooks import LearningRate, PeriodicCheckpoints
from dvis_daq.engine.optimizer import build_lr_scheduler, build_optimizer, clip_gradients
from dvis_daq.engine.precision import Precision
from dvis_daq.engine.random_state import preserved_random_state, set_random_state
from dvis_daq.engine.setup import build_model

logger = logging.getLogger(__name__)

_LOG_PERIOD = 20  # iterations

Batch = Sequence[Mapping[str, Any]]
BuildLoader = Callable[[CfgNode, int], Iterable[Batch]]


class TrainingError(RuntimeError):
    """Training cannot go on; the message names the iteration and the videos."""


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
        module = build_model(cfg)
        self.optimizer = build_optimizer(cfg, module)
        device = next(module.parameters()).device
        self.precision = Precision(cfg.SOLVER.PRECISION, device)
        # Not every parameter has a share in every loss: re-id heads, or stages of a training.
        self.model = create_ddp_model(
            module.train(),
            device_ids=None if device.index is None else [device.index],  # None: on the CPU
            broadcast_buffers=False,
            find_unused_parameters=True,
        )
        self.checkpointer = Checkpointer(
            module,
            cfg.OUTPUT_DIR,
            trainer=self,
            **_stateful(objective=getattr(module, "objective", None)),
        )
        self.register_hooks(self._make_hooks())
        logger.info("Learning: %s", _learning_summary(module))

    def prepare(self, *, resume: bool = False) -> None:
        """Loads weights, or the state of an interrupted training, and opens the data.

        Args:
            resume: start from the last checkpoint of OUTPUT_DIR if there is one, else from
                MODEL.WEIGHTS.

        Raises:
            CheckpointError, FileNotFoundError: the weights cannot be used.
            ValueError: the data cannot be used.
        """
        rest = self.checkpointer.resume() if resume else None
        if rest is not None:
            self.start_iter = rest["iteration"] + 1
            self._random = self._own_random_state(rest["random"])
            logger.info("Going on with iteration %d", self.start_iter)
        else:
            self._load_weights()
        done = self.start_iter * self.cfg.SOLVER.ACCUMULATION
        self._loader = self._build_loader(self.cfg, done)

    def train(self) -> None:
        """Runs the remaining iterations; `prepare` comes first."""
        super().train(self.start_iter, self.max_iter)

    def before_train(self) -> None:
        super().before_train()
        self._batches = iter(self._loader)
        if self._random is not None:  # last, because a loader draws numbers when it starts
            set_random_state(self._random)

    def run_step(self) -> None:
        """One update of the weights, from `SOLVER.ACCUMULATION` batches."""
        rounds = self.cfg.SOLVER.ACCUMULATION
        losses: dict[str, Tensor] = {}
        waited = 0.0
        for index in range(rounds):
            start = time.perf_counter()
            batch = next(self._batches)
            waited += time.perf_counter() - start
            with self._communicates(index == rounds - 1):
                for name, value in self._backward(batch, rounds).items():
                    losses[name] = losses.get(name, 0) + value.detach() / rounds
        self._update(batch)
        self._log(losses, waited)

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        state["optimizer"] = self.optimizer.state_dict()
        state["scaler"] = self.precision.scaler.state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.optimizer.load_state_dict(state_dict["optimizer"])
        self.precision.scaler.load_state_dict(state_dict["scaler"])

    def _load_weights(self) -> None:
        file = self.cfg.MODEL.WEIGHTS or _backbone_weights(self.cfg)
        if not file:
            logger.info("MODEL.WEIGHTS is empty: training starts from random weights")
            return
        load_weights(
            self.checkpointer.model,
            file,
            trains=_learning_parts(self.checkpointer.model),
            partial=self.cfg.MODEL.PARTIAL_WEIGHTS,
        )

    def _make_hooks(self) -> list[HookBase]:
        """In the order in which they run; writers last, so that they see what others put."""
        cfg = self.cfg
        made: list[HookBase] = [
            hooks.IterationTimer(),
            LearningRate(self.optimizer, build_lr_scheduler(cfg)),
            PeriodicCheckpoints(self.checkpointer, cfg.SOLVER.CHECKPOINT_PERIOD),
        ]
        if cfg.DATASETS.TEST:
            made.append(hooks.EvalHook(cfg.TEST.EVAL_PERIOD, self._evaluate))
        if comm.is_main_process():
            folder = Path(cfg.OUTPUT_DIR)
            folder.mkdir(parents=True, exist_ok=True)
            writers = [
                CommonMetricPrinter(self.max_iter),
                JSONWriter(str(folder / "metrics.json")),
                TensorboardXWriter(str(folder)),
            ]
            made.append(hooks.PeriodicWriter(writers, _LOG_PERIOD))
        return made

    def _evaluate(self) -> dict[str, Any]:
        # A run that is resumed after this evaluation must draw the same numbers.
        with preserved_random_state():
            return evaluate(self.cfg, self.checkpointer.model)

    def _backward(self, batch: Batch, rounds: int) -> dict[str, Tensor]:
        """Adds the gradients of one batch; returns its losses."""
        with self.precision.autocast():
            losses = self.model(batch)
        total = sum(losses.values()) / rounds
        if not total.isfinite():
            wrong = ", ".join(f"{k} {v.item()}" for k, v in losses.items() if not v.isfinite())
            raise TrainingError(f"{self._place(batch)}: the loss is not finite: {wrong}")
        self.precision.backward(total)
        return losses

    def _update(self, batch: Batch) -> None:
        scaler = self.precision.scaler
        scaler.unscale_(self.optimizer)
        norm = clip_gradients(self.cfg, self.optimizer).item()
        if not math.isfinite(norm) and not scaler.is_enabled():  # a scaler skips such a step
            raise TrainingError(f"{self._place(batch)}: a gradient is not finite")
        scaler.step(self.optimizer)
        scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.storage.put_scalar("grad_norm", norm)

    def _log(self, losses: Mapping[str, Tensor], waited: float) -> None:
        """Puts the losses and the seconds of waiting for data, averaged over processes."""
        values = {name: value.float() for name, value in losses.items()}
        values["data_time"] = next(iter(values.values())).new_tensor(waited)
        mean = {name: value.item() for name, value in comm.reduce_dict(values).items()}
        if comm.is_main_process():
            data_time = mean.pop("data_time")
            self.storage.put_scalars(total_loss=sum(mean.values()), data_time=data_time, **mean)

    def _communicates(self, last: bool) -> AbstractContextManager[None]:
        """Processes exchange gradients only in the last round of a step."""
        if last or not isinstance(self.model, nn.parallel.DistributedDataParallel):
            return nullcontext()
        return self.model.no_sync()

    def _place(self, batch: Batch) -> str:
        videos = ", ".join(
            f"{video.get('video_id')} (frames {video.get('frame_indices')})" for video in batch
        )
        return f"iteration {self.iter}, video {videos}"

    @staticmethod
    def _own_random_state(states: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
        if len(states) != comm.get_world_size():
            logger.warning(
                "The checkpoint is of %d processes, this run has %d: random numbers differ",
                len(states),
                comm.get_world_size(),
            )
            return None
        return states[comm.get_rank()]


def _backbone_weights(cfg: CfgNode) -> str:
    """Where only the backbone starts from a file: the ViT, in its adapter or alone."""
    adapted = cfg.MODEL.BACKBONE.NAME == "D2VitAdapterDinoV2"
    with_vit = adapted or cfg.MODEL.SEGMENTER == "encoder_only"
    return cfg.MODEL.VIT_ADAPTER.VIT_WEIGHT if with_vit else ""


def _stateful(**parts: Any) -> dict[str, Any]:
    """The parts that remember something between two steps."""
    return {name: part for name, part in parts.items() if hasattr(part, "state_dict")}


def _learning_parts(model: nn.Module) -> list[str]:
    """Names of the parts of a model with a parameter that requires a gradient."""
    return [
        name
        for name, part in model.named_children()
        if any(parameter.requires_grad for parameter in part.parameters())
    ]


def _learning_summary(model: nn.Module) -> str:
    total, learning = (
        sum(p.numel() for p in model.parameters() if p.requires_grad or not only) / 1e6
        for only in (False, True)
    )
    return f"{', '.join(_learning_parts(model))} ({learning:.2f} M of {total:.2f} M parameters)"
