"""Finished weights in one file that says what it is."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from torch import nn

from dvis_daq.checkpoint import Signature, write_weights

logger = logging.getLogger(__name__)


def export_weights(cfg: CfgNode, model: nn.Module, path: Path) -> None:
    """Writes the weights of a model with its recipe, classes and configuration.

    Args:
        cfg: the configuration of the training.
        model: bare, not in DistributedDataParallel.
        path: `.safetensors`; the facts are its header, which any reader of the format shows.
    """
    state = model.state_dict()
    metadata = {
        "recipe": cfg.MODEL.META_ARCHITECTURE,
        "task": cfg.MODEL.TASK,
        **Signature.of(state).as_metadata(),
        "classes": json.dumps(_class_names(cfg)),
        "config": cfg.dump(),
    }
    write_weights(path, state, metadata)
    logger.info("Saved %s", path)


def _class_names(cfg: CfgNode) -> list[str]:
    """Of the last training set, whose classes are the model's."""
    if not cfg.DATASETS.TRAIN:
        return []
    return list(MetadataCatalog.get(cfg.DATASETS.TRAIN[-1]).get("classes") or [])
