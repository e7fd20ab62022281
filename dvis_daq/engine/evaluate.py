"""Evaluating a model on the test data of a configuration."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator, inference_on_dataset, print_csv_format
from detectron2.utils import comm
from torch import nn

from dvis_daq.config import ConfigError
from dvis_daq.data.loader import build_test_loader
from dvis_daq.engine.transitions import measure_transitions, scalars
from dvis_daq.evaluation.overlap import OneBehind, Overlapped
from dvis_daq.evaluation.vis import VISEvaluator
from dvis_daq.evaluation.vos import VOSEvaluator
from dvis_daq.evaluation.vps import VPSEvaluator
from dvis_daq.evaluation.vss import VSSEvaluator

logger = logging.getLogger(__name__)

EVALUATORS = {  # by MODEL.TASK
    "vis": VISEvaluator,
    "vps": VPSEvaluator,
    "vss": VSSEvaluator,
    "vos": VOSEvaluator,
}


def evaluate(cfg: CfgNode, model: nn.Module) -> dict[str, Any]:
    """Runs `model` over each data set of `DATASETS.TEST`.

    Args:
        cfg: the whole configuration; results go to `OUTPUT_DIR/inference/<data set>`.
        model: put to eval mode meanwhile.

    Returns:
        Figures of the one data set, or by data set where there are several; empty on other
        processes than the main one.

    Raises:
        ConfigError: no test data, or data of another task or other classes than the model's.
    """
    names = cfg.DATASETS.TEST
    if not names:
        raise ConfigError("DATASETS.TEST is empty: name the data sets to evaluate on")
    results = {name: _evaluate_one(cfg, model, name) for name in names}
    if not comm.is_main_process():
        return {}
    return results[names[0]] if len(names) == 1 else results


def build_evaluator(cfg: CfgNode, name: str) -> DatasetEvaluator:
    """The evaluator of `MODEL.TASK` for one data set.

    Raises:
        ConfigError: the data are of another task, or have other things than the model.
    """
    task, entry = cfg.MODEL.TASK, MetadataCatalog.get(name)
    if entry.get("task", task) != task:
        raise ConfigError(
            f"data set '{name}' is for the task {entry.task}, MODEL.TASK is {task}; evaluate on "
            f"data of {task}, or set MODEL.TASK {entry.task}"
        )
    things = entry.get("thing_classes")
    if task == "vps" and things and len(things) != cfg.MODEL.SEM_SEG_HEAD.NUM_THINGS:
        raise ConfigError(
            f"data set '{name}' has {len(things)} classes of things, the model "
            f"{cfg.MODEL.SEM_SEG_HEAD.NUM_THINGS}; set MODEL.SEM_SEG_HEAD.NUM_THINGS {len(things)}"
        )
    folder = Path(cfg.OUTPUT_DIR, "inference", name)
    return EVALUATORS[task](name, output_dir=folder)


def _evaluate_one(cfg: CfgNode, model: nn.Module, name: str) -> dict[str, Any]:
    logger.info("Evaluating on %s", name)
    evaluator = OneBehind(build_evaluator(cfg, name))
    results = inference_on_dataset(Overlapped(model), build_test_loader(cfg, name), evaluator)
    if cfg.TEST.TRANSITION_GAP:
        gaps = measure_transitions(cfg, model, name)
        results["transition_gap"] = scalars(gaps)
    if comm.is_main_process():
        print_csv_format(results)
    return results
