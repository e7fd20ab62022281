"""A model that is run, not trained: built, loaded, and made faster where nothing is lost."""

from __future__ import annotations

from typing import Any

import torch
from detectron2.config import CfgNode
from torch import nn

from dvis_daq.checkpoint import load_weights
from dvis_daq.engine.adaptation import compile_segmenter, compile_tracker
from dvis_daq.engine.setup import build_model
from dvis_daq.segmenter.folding import fold_frozen_norms
from dvis_daq.tracker.daq import DAQTracker


def trained_model(cfg: CfgNode, *, trust: bool = False) -> tuple[nn.Module, dict[str, Any]]:
    """The model of MODEL.WEIGHTS, in evaluation mode.

    Frozen normalisation is folded into the convolutions (`segmenter.folding`), so its state is
    no checkpoint.

    Args:
        cfg: the whole configuration.
        trust: see `read_checkpoint`.

    Returns:
        The model, and what else the file holds.

    Raises:
        ValueError: there is no such recipe or device, or the file does not fit the model.
        FileNotFoundError: there is no such file.
    """
    model = build_model(cfg)
    content = load_weights(model, cfg.MODEL.WEIGHTS, partial=cfg.MODEL.PARTIAL_WEIGHTS, trust=trust)
    fold_frozen_norms(model, dtype=getattr(torch, cfg.TEST.PRECISION))
    if cfg.TEST.COMPILE:
        compile_segmenter(model.get_submodule("segmenter"))
        tracker = model.get_submodule("tracker")
        if isinstance(tracker, DAQTracker) and cfg.MODEL.DEVICE != "cpu":
            compile_tracker(tracker)
    return model.eval(), content
