"""A training that was killed and resumed ends with the same weights, bit by bit."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.config import CfgNode

import dvis_daq.recipes  # noqa: F401
from dvis_daq.config import get_config
from dvis_daq.data.loader import build_train_loader
from dvis_daq.engine.trainer import Trainer
from tests.tiny_run import tiny_config


class _Killed(BaseException):
    """Like a signal: no handler of ordinary errors sees it."""


class _KilledAfter:
    def __init__(self, batches: int) -> None:
        self.batches = batches

    def __call__(self, cfg: CfgNode, start: int) -> Iterator[Any]:
        stream: Iterable[Any] = build_train_loader(cfg, start)
        for number, batch in enumerate(stream, start):
            if number == self.batches:
                raise _Killed
            yield batch


def _train(cfg: CfgNode, seed: int, build: Any = build_train_loader) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    trainer = Trainer(cfg, build)
    trainer.prepare(resume=True)
    trainer.train()
    return trainer.model.state_dict()


RECIPES = ("MinVIS", "CTVIS", "DVIS_online", "DVIS_DAQ_online", "DVIS_offline", "DVIS_DAQ_offline")


@pytest.mark.parametrize("recipe", RECIPES)
def test_resumed_equals_straight(recipe: str, tmp_path: Path) -> None:
    """Killed beside a change of the EDS stage; resumed with another number of workers."""
    file = tiny_config(tmp_path, recipe)

    def config(folder: str, *opts: str) -> CfgNode:
        common = ["SOLVER.MAX_ITER", "5", "SOLVER.CHECKPOINT_PERIOD", "2", "DATASETS.TEST", "()"]
        return get_config(file, [*common, "OUTPUT_DIR", str(tmp_path / folder), *opts])

    straight = _train(config("straight"), seed=3)
    with pytest.raises(_Killed):
        _train(config("killed"), seed=3, build=_KilledAfter(3))
    resumed = _train(config("killed", "DATALOADER.NUM_WORKERS", "1"), seed=99)
    assert straight.keys() == resumed.keys()
    assert [name for name in straight if not torch.equal(straight[name], resumed[name])] == []
