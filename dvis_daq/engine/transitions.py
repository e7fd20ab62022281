"""The feature transition gap of a model on labelled video (Tab. A3)."""

from __future__ import annotations

from itertools import chain
from typing import Any

from detectron2.config import CfgNode
from detectron2.utils import comm
from torch import nn

from dvis_daq.config import ConfigError
from dvis_daq.data.loader import build_test_loader
from dvis_daq.evaluation.transitions import Event, Transitions, summarize


def measure_transitions(cfg: CfgNode, model: nn.Module, name: str) -> dict[str, Any]:
    """Tracks the videos of data set `name` and measures its events.

    Args:
        cfg: the whole configuration.
        model: a `VideoModel`; of an offline one the online part is measured.

    Returns:
        See `evaluation.transitions.summarize`; empty on other processes than the main one.

    Raises:
        ConfigError: the data set has no labels.
    """
    training = model.training
    model.eval()
    found: list[Event] = []
    labelled = False
    for [video] in build_test_loader(cfg, name, labelled=True):
        watch, truth = Transitions(), video["targets"]
        labelled |= not truth.is_empty
        for frame, done in enumerate(model.frames(video["images"])):
            watch.add(done, truth[frame])
        found += watch.events
    model.train(training)
    everyone = comm.gather((found, labelled))
    if not comm.is_main_process():
        return {}
    if not any(known for _, known in everyone):
        raise ConfigError(f"{name} has no labels; the transition gap needs objects and their masks")
    return summarize(chain.from_iterable(events for events, _ in everyone))


def scalars(figures: dict[str, Any]) -> dict[str, float]:
    """The figures by one name each, as a training logs them; undefined ones are left out."""
    return {
        f"{kind}_{name}": value
        for kind, row in figures.items()
        for name, value in row.items()
        if value is not None
    }
