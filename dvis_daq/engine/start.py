"""The weights that a training starts from."""

from __future__ import annotations

import logging

from detectron2.config import CfgNode
from torch import nn

from dvis_daq.checkpoint import load_weights

logger = logging.getLogger(__name__)


def load_start_weights(cfg: CfgNode, model: nn.Module, *, trust: bool = False) -> None:
    """Loads what the configuration names into a model; what is about to learn may be missing.

    Args:
        cfg: the whole configuration.
        model: receives the weights.
        trust: see `read_checkpoint`.

    Raises:
        CheckpointError, FileNotFoundError: the weights cannot be used.
    """
    file = start_file(cfg)
    if not file:
        logger.info("MODEL.WEIGHTS is empty: training starts from random weights")
        return
    load_weights(
        model,
        file,
        trains=learning_parts(model),
        partial=cfg.MODEL.PARTIAL_WEIGHTS,
        trust=trust,
    )


def start_file(cfg: CfgNode) -> str:
    """Weights of the whole model, or of the ViT alone, in its adapter or by itself; or ''."""
    if cfg.MODEL.WEIGHTS:
        return cfg.MODEL.WEIGHTS
    adapted = cfg.MODEL.BACKBONE.NAME == "D2VitAdapterDinoV2"
    with_vit = adapted or cfg.MODEL.SEGMENTER == "encoder_only"
    return cfg.MODEL.VIT_ADAPTER.VIT_WEIGHT if with_vit else ""


def learning_parts(model: nn.Module) -> list[str]:
    """Names of the parts of a model with a parameter that requires a gradient."""
    return [
        name
        for name, part in model.named_children()
        if any(parameter.requires_grad for parameter in part.parameters())
    ]
