"""The usual beginning of a training script."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from detectron2.config import CfgNode
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from detectron2.utils.events import (
    CommonMetricPrinter,
    EventWriter,
    JSONWriter,
    TensorboardXWriter,
)
from detectron2.utils.file_io import PathManager
from detectron2.utils.logger import setup_logger

__all__ = ["create_ddp_model", "default_argument_parser", "default_setup", "default_writers"]


def default_argument_parser(epilog: str | None = None) -> argparse.ArgumentParser:
    """The command line of a training script.

    Args:
        epilog: text at the end of the help.
    """
    parser = argparse.ArgumentParser(
        epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", default="", metavar="FILE", help="path to a config file")
    parser.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint of the output folder"
    )
    parser.add_argument("--eval-only", action="store_true", help="perform evaluation only")
    parser.add_argument("--num-gpus", type=int, default=1, help="number of gpus *per machine*")
    parser.add_argument("--num-machines", type=int, default=1, help="total number of machines")
    parser.add_argument(
        "--machine-rank", type=int, default=0, help="the rank of this machine, one for each"
    )
    parser.add_argument(
        "--dist-url",
        default=f"tcp://127.0.0.1:{_port_of_user()}",
        help="where the processes meet, see torch.distributed",
    )
    parser.add_argument(
        "opts", nargs=argparse.REMAINDER, default=None, help="changes of the config: KEY VALUE ..."
    )
    return parser


def _port_of_user() -> int:
    """A port in the private range, another one for each user of a machine."""
    user = os.getuid() if hasattr(os, "getuid") else 1
    return 49152 + hash(user) % 16384


def default_setup(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Sets up loggers, seeds and the output folder, and writes `config.yaml` there.

    Args:
        cfg: the whole config; SEED + rank is the seed, a random one if SEED is negative.
        args: the command line.
    """
    rank = comm.get_rank()
    folder = cfg.get("OUTPUT_DIR", "")
    if comm.is_main_process() and folder:
        PathManager.mkdirs(folder)
    setup_logger(folder or None, distributed_rank=rank, name="fvcore")
    logger = setup_logger(folder or None, distributed_rank=rank)

    logger.info("Rank of current process: %d. World size: %d", rank, comm.get_world_size())
    logger.info("Environment info:\n%s", _environment())
    logger.info("Command line arguments: %s", args)
    if comm.is_main_process() and folder:
        path = os.path.join(folder, "config.yaml")
        with PathManager.open(path, "w") as file:
            file.write(cfg.dump())
        logger.info("Full config saved to %s", path)

    seed = cfg.get("SEED", -1)
    seed_all_rng(None if seed < 0 else seed + rank)
    if cfg.get("FLOAT32_PRECISION", ""):
        torch.set_float32_matmul_precision(cfg.FLOAT32_PRECISION)
    if not getattr(args, "eval_only", False):
        torch.backends.cudnn.benchmark = cfg.get("CUDNN_BENCHMARK", False)


def _environment() -> str:
    facts = {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "detectron2": "0.6+lite",
        "torch": torch.__version__,
        "CUDA": torch.version.cuda,
        "GPUs": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
    }
    return "\n".join(f"{name}: {fact}" for name, fact in facts.items())


def default_writers(output_dir: str, max_iter: int | None = None) -> list[EventWriter]:
    """Writers for the console, `metrics.json` and TensorBoard.

    Args:
        output_dir: the folder.
        max_iter: number of iterations, for the time left.
    """
    PathManager.mkdirs(output_dir)
    return [
        CommonMetricPrinter(max_iter),
        JSONWriter(os.path.join(output_dir, "metrics.json")),
        TensorboardXWriter(output_dir),
    ]


def create_ddp_model(
    model: nn.Module, *, fp16_compression: bool = False, **kwargs: Any
) -> nn.Module:
    """Wraps a model for distributed training if there is more than one process.

    Args:
        model: on its device.
        fp16_compression: send gradients in half precision.
        **kwargs: go to `DistributedDataParallel`; `device_ids=None` for a model on the CPU.
    """
    if comm.get_world_size() == 1:
        return model
    kwargs.setdefault("device_ids", [comm.get_local_rank()])
    wrapped = DistributedDataParallel(model, **kwargs)
    if fp16_compression:
        from torch.distributed.algorithms.ddp_comm_hooks import default as comm_hooks

        wrapped.register_comm_hook(state=None, hook=comm_hooks.fp16_compress_hook)
    return wrapped
