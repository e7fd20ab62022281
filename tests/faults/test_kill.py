"""kill -9 at random moments of a real training, and on with it."""

import ctypes
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import HookBase

import dvis_daq.recipes  # noqa: F401
from dvis_daq.checkpoint import read_checkpoint
from dvis_daq.config import get_config
from dvis_daq.engine.trainer import Trainer
from tests.tiny_run import tiny_config

KILLS = 20
PERIOD = 3  # iterations a checkpoint
ITERATIONS = 120


class _Progress(HookBase):
    def __init__(self, done: Any) -> None:
        self.done = done

    def after_step(self) -> None:
        self.done.value = self.trainer.iter


def _train(cfg: CfgNode, done: Any, start: Any, seed: int) -> None:
    torch.manual_seed(seed)
    trainer = Trainer(cfg)
    trainer.register_hooks([_Progress(done)])
    trainer.prepare(resume=True)
    start.value = trainer.start_iter
    trainer.train()


def test_killed_twenty_times(tmp_path: Path, tally: Callable[..., None]) -> None:
    """The straight run and the one that is killed again and again end with equal weights."""
    file = tiny_config(tmp_path, "DVIS_DAQ_online")

    def config(folder: str) -> CfgNode:
        options = ["SOLVER.MAX_ITER", str(ITERATIONS), "SOLVER.CHECKPOINT_PERIOD", str(PERIOD)]
        options += ["DATASETS.TEST", "()", "OUTPUT_DIR", str(tmp_path / folder)]
        return get_config(file, options)

    fork = multiprocessing.get_context("fork")  # the libraries are loaded already
    done, start = fork.Value(ctypes.c_long, -1), fork.Value(ctypes.c_long, -1)
    straight = fork.Process(target=_train, args=(config("straight"), done, start, 3))
    straight.start()
    straight.join(300)
    assert straight.exitcode == 0

    rng = random.Random(0)
    redone = survived = 0
    half: set[Path] = set()  # named after their process, so each counts once
    reached = -1
    for attempt in range(KILLS):
        done.value = start.value = -1
        process = fork.Process(
            target=_train, args=(config("killed"), done, start, 3 if reached < 0 else 50 + attempt)
        )
        process.start()
        while start.value < 0 and process.is_alive():
            time.sleep(0.01)
        if reached >= 0:
            redone = max(redone, reached - start.value + 1)
        goal = start.value + rng.randint(2, 7)
        began = time.monotonic()
        while done.value < min(goal, ITERATIONS - 12) and process.is_alive():
            time.sleep(0.001)
        # somewhere within the next iterations or the checkpoint after them, however slow they are
        one = (time.monotonic() - began) / max(done.value - start.value + 1, 1)
        time.sleep(rng.random() * 1.5 * one)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        reached = max(done.value, start.value - 1)
        survived += 1
        half.update((tmp_path / "killed").glob(".*.tmp"))
    last = fork.Process(target=_train, args=(config("killed"), done, start, 99))
    last.start()
    last.join(300)
    assert last.exitcode == 0
    one, other = (
        read_checkpoint(tmp_path / name / "model_final.pth") for name in ("straight", "killed")
    )
    wrong = [n for n, value in one["model"].items() if not torch.equal(other["model"][n], value)]
    assert wrong == []
    assert redone <= PERIOD
    assert not list((tmp_path / "killed").glob(".*.tmp"))
    tally("kill -9 in training", KILLS, survived, f"at most {redone} iterations to do again; "
          f"{len(half)} kills while a file was written")  # fmt: skip
