"""Command line and set-up of a run: contract 4.7 and 4.9, on both sides."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from detectron2.config import get_cfg
from detectron2.engine import create_ddp_model, default_argument_parser, default_setup
from detectron2.utils.env import seed_all_rng


@pytest.fixture
def clean_loggers() -> Iterator[None]:
    yield
    for name in ("detectron2", "fvcore"):
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
            handler.close()
        logger.propagate = True


def test_arguments() -> None:
    args = default_argument_parser().parse_args(
        ["--config-file", "a.yaml", "--num-gpus", "2", "--resume", "SOLVER.BASE_LR", "0.1"]
    )
    assert (args.config_file, args.num_gpus, args.resume) == ("a.yaml", 2, True)
    assert args.opts == ["SOLVER.BASE_LR", "0.1"]
    args = default_argument_parser().parse_args([])
    assert (args.config_file, args.num_gpus, args.num_machines, args.machine_rank) == ("", 1, 1, 0)
    assert not args.resume and not args.eval_only
    assert args.dist_url.startswith("tcp://127.0.0.1:")


@pytest.mark.usefixtures("clean_loggers")
def test_default_setup(tmp_path: Path) -> None:
    cfg = get_cfg()
    cfg.OUTPUT_DIR = str(tmp_path / "out")
    cfg.SEED = 5
    default_setup(cfg, default_argument_parser().parse_args([]))
    first = (torch.rand(1).item(), np.random.rand())
    assert yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())["SEED"] == 5
    assert "Rank of current process" in (tmp_path / "out" / "log.txt").read_text()
    seed_all_rng(5)
    assert (torch.rand(1).item(), np.random.rand()) == first


def test_one_process_needs_no_wrapper() -> None:
    model = torch.nn.Linear(1, 1)
    assert create_ddp_model(model) is model
