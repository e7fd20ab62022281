"""Settings of what follows the segmenter, tried on one pass of it (`tools/eval.py --sweep`)."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.evaluation import DatasetEvaluator, inference_on_dataset

import dvis_daq.recipes  # noqa: F401  registers the methods
from dvis_daq.config import ConfigError, get_config
from dvis_daq.data.loader import build_test_loader
from dvis_daq.engine.evaluate import build_evaluator
from dvis_daq.engine.setup import setup
from dvis_daq.engine.trained import trained_model
from dvis_daq.variants import Variants
from dvis_daq.workbench.tables import FIGURES, cell, figures_of, markdown

# What may be swept: nothing of it reaches the segmenter, or the weights.
SWEEPABLE = (
    "MODEL.LIFECYCLE.",
    "MODEL.TRACKER.ANCHORS.DECIDES",
    "TEST.MAX_INSTANCES",
    "TEST.SHOW_UNSEEN",
)


def settings(axes: Sequence[str]) -> list[dict[str, str]]:
    """All combinations.

    Args:
        axes: KEY=VALUE,VALUE,... each.

    Raises:
        ConfigError: an axis of another form, or a key that cannot be swept.
    """
    found: dict[str, list[str]] = {}
    for axis in axes:
        key, _, values = axis.partition("=")
        if not key or not all(values.split(",")):
            raise ConfigError(f"--sweep {axis}: expected KEY=VALUE,VALUE,...")
        if not key.startswith(SWEEPABLE):
            known = ", ".join(name + "*" * name.endswith(".") for name in SWEEPABLE)
            raise ConfigError(f"--sweep {axis}: only {known} share a pass of the segmenter")
        found[key] = values.split(",")
    return [dict(zip(found, values, strict=True)) for values in product(*found.values())]


def label(setting: Mapping[str, str]) -> str:
    """Its name in tables."""
    return " ".join(f"{key}={value}" for key, value in setting.items())


def configs(options: argparse.Namespace) -> dict[str, CfgNode]:
    """The configuration of each setting by its label; results go to `OUTPUT_DIR/sweep/<label>`.

    Raises:
        ConfigError: a setting that cannot be swept, or another task than instances.
    """
    base = get_config(options.config_file, options.opts)
    if base.MODEL.TASK != "vis":
        raise ConfigError(f"--sweep compares figures of instances; MODEL.TASK is {base.MODEL.TASK}")
    made = {}
    for setting in settings(options.sweep):
        name = label(setting)
        folder = Path(base.OUTPUT_DIR, "sweep", name.replace(" ", "_"))
        words = [word for pair in setting.items() for word in pair]
        opts = [*options.opts, *words, "OUTPUT_DIR", str(folder)]
        made[name] = get_config(options.config_file, opts)
    return made


def infer(options: argparse.Namespace) -> None:
    """One process of the run: writes the results of every setting and data set."""
    base = get_config(options.config_file, options.opts)
    if not base.MODEL.WEIGHTS:
        raise ConfigError("there are no weights to evaluate; give --weights")
    setup(base, options)
    made = list(configs(options).values())
    model = Variants([trained_model(cfg)[0] for cfg in made])
    for name in base.DATASETS.TEST:
        evaluator = SplitEvaluator([build_evaluator(cfg, name) for cfg in made])
        inference_on_dataset(model, build_test_loader(base, name), evaluator)


class SplitEvaluator(DatasetEvaluator):
    """Gives each of several evaluators the results of its own model.

    Args:
        evaluators: in the order of the models of `Variants`.
    """

    def __init__(self, evaluators: Sequence[DatasetEvaluator]) -> None:
        self.evaluators = evaluators

    def reset(self) -> None:
        for evaluator in self.evaluators:
            evaluator.reset()

    def process(self, inputs: Any, outputs: Any) -> None:
        for index, evaluator in enumerate(self.evaluators):
            evaluator.process(inputs, [results[index] for results in outputs])

    def evaluate(self) -> None:
        for evaluator in self.evaluators:
            evaluator.evaluate()


def as_markdown(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """One row a setting, percent."""
    rows = []
    for name, found in figures.items():
        columns = figures_of([found])
        rows.append([name, *(cell(columns[column]) for column in FIGURES)])
    return markdown(["setting", *FIGURES], rows)
