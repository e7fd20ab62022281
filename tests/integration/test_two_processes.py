"""Two processes with half of the batch each train as one does with all of it."""

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.utils import comm

from dvis_daq.checkpoint import read_checkpoint
from dvis_daq.engine import launch
from dvis_daq.engine.trainer import Trainer
from tests.unit.engine.stand_in import Stream, stand_in_config

OPTIONS = ("MODEL.META_ARCHITECTURE", "certain_stand_in", "SOLVER.IMS_PER_BATCH", 4,
           "SOLVER.ACCUMULATION", 2)  # fmt: skip


def _share(cfg: CfgNode, start: int) -> Stream:
    world = comm.get_world_size()
    return Stream(cfg, start, slice(comm.get_rank(), None, world))


def train(args: argparse.Namespace) -> None:
    """What each process does."""
    trainer = Trainer(stand_in_config(args.output, *OPTIONS), _share)
    trainer.prepare()
    trainer.train()


def _run(output: Path, processes: int) -> dict[str, Any]:
    args = argparse.Namespace(output=output, num_gpus=processes)
    vars(args).update(num_machines=1, machine_rank=0, dist_url="auto")
    launch.run(train, args, device="cpu")
    return read_checkpoint(output / "model_final.pth")


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU, launch takes one each")
def test_two_equal_one(tmp_path: Path) -> None:
    one, two = (_run(tmp_path / str(count), count) for count in (1, 2))
    for name, value in one["model"].items():
        torch.testing.assert_close(two["model"][name], value, rtol=1e-9, atol=1e-12)
    assert len(two["random"]) == 2
