"""Evaluating a model on the test data of a configuration."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.evaluation import DatasetEvaluator, inference_on_dataset, print_csv_format
from detectron2.utils import comm
from torch import nn

from dvis_daq.config import ConfigError
from dvis_daq.data.loader import build_test_loader
from dvis_daq.engine.transitions import measure_transitions, scalars
from dvis_daq.evaluation.vis import VISEvaluator

logger = logging.getLogger(__name__)

EVALUATORS = {"vis": VISEvaluator}  # by MODEL.TASK


def evaluate(cfg: CfgNode, model: nn.Module) -> dict[str, Any]:
    """Runs `model` over each data set of `DATASETS.TEST`.

    Args:
        cfg: the whole configuration; results go to `OUTPUT_DIR/inference/<data set>`.
        model: put to eval mode meanwhile.

    Returns:
        Figures of the one data set, or by data set where there are several; empty on other
        processes than the main one.

    Raises:
        ConfigError: no test data, or a task without an evaluator.
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
        ConfigError: a task without an evaluator.
    """
    if cfg.MODEL.TASK not in EVALUATORS:
        known = ", ".join(EVALUATORS)
        raise ConfigError(f"no evaluator for MODEL.TASK {cfg.MODEL.TASK!r} yet; there is {known}")
    folder = Path(cfg.OUTPUT_DIR, "inference", name)
    return EVALUATORS[cfg.MODEL.TASK](name, output_dir=folder)


def _evaluate_one(cfg: CfgNode, model: nn.Module, name: str) -> dict[str, Any]:
    logger.info("Evaluating on %s", name)
    results = inference_on_dataset(model, build_test_loader(cfg, name), build_evaluator(cfg, name))
    if cfg.TEST.TRANSITION_GAP:
        gaps = measure_transitions(cfg, model, name)
        results["transition_gap"] = scalars(gaps)
    if comm.is_main_process():
        print_csv_format(results)
    return results
