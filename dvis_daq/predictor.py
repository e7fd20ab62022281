"""A trained model applied to frames: the way in for tools and notebooks."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

import dvis_daq.recipes  # noqa: F401  registers the methods
from dvis_daq.checkpoint import load_weights
from dvis_daq.config import get_config
from dvis_daq.data import datasets
from dvis_daq.data.loader import register_datasets, test_transform
from dvis_daq.data.transforms import ClipTransform, Plan
from dvis_daq.engine.setup import build_model

logger = logging.getLogger(__name__)

Progress = Callable[[int], Any]  # told how many more frames the model has taken


class VideoPredictor:
    """Segments and tracks what is in a video.

    Args:
        model: a `VideoModel`; put to eval mode.
        transform: resize of the frames, without chance in it.
        task: what the model delivers, `MODEL.TASK`.
        class_names: of the class indices; may be shorter than the model has classes, or empty.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        transform: ClipTransform,
        task: str = "vis",
        class_names: Sequence[str] = (),
    ) -> None:
        self.model = model.eval()
        self.transform = transform
        self.task = task
        self.class_names = tuple(class_names)

    @classmethod
    def from_config(
        cls,
        config_file: str | Path | None,
        weights: str | Path | None = None,
        opts: Sequence[str] = (),
    ) -> VideoPredictor:
        """Builds the model of a configuration and loads its weights.

        Args:
            config_file: a YAML, see `config.get_config`.
            weights: a checkpoint; None takes MODEL.WEIGHTS.
            opts: alternating keys and values that override the YAML.

        Raises:
            ValueError: something is missing or does not fit; the message says what to do.
        """
        cfg = get_config(config_file, opts)
        weights = weights or cfg.MODEL.WEIGHTS
        if not weights:
            raise ValueError("no weights: name a checkpoint, or set MODEL.WEIGHTS")
        if cfg.CPU_THREADS:
            torch.set_num_threads(cfg.CPU_THREADS)
        model = build_model(cfg)
        facts = load_weights(model, weights, partial=cfg.MODEL.PARTIAL_WEIGHTS)
        return cls(
            model,
            transform=test_transform(cfg),
            task=cfg.MODEL.TASK,
            class_names=known_classes(cfg, facts.get("metadata", {})),
        )

    def __call__(
        self, frames: Iterable[np.ndarray], progress: Progress | None = None
    ) -> Mapping[str, Any]:
        """Processes a whole video.

        The resized frames are held in memory as bytes; their originals are not.

        Args:
            frames: (H, W, 3) uint8 RGB arrays of one size.
            progress: called as the model takes frames.

        Returns:
            What the task head gives (`tasks/`), at the size of the frames.

        Raises:
            ValueError: there is no frame, or one of another size.
        """
        images, (height, width) = self._resized(frames)
        video = {
            "images": _Watched(images, progress or (lambda count: None)),
            "height": height,
            "width": width,
        }
        with torch.inference_mode():
            (result,) = self.model([video])
        return result

    def class_name(self, label: int) -> str:
        """Name of a class index; the index itself where the names are not known."""
        return self.class_names[label] if label < len(self.class_names) else f"class {label}"

    def _resized(self, frames: Iterable[np.ndarray]) -> tuple[Tensor, tuple[int, int]]:
        """(T, 3, h, w) uint8 at network size, and the original (H, W)."""
        resized: list[Tensor] = []
        shape: tuple[int, ...] = ()
        for t, frame in enumerate(frames):
            if not resized:
                shape = frame.shape
                size = (shape[0], shape[1])
                plan = self.transform.draw(Plan.start(size), np.random.default_rng(0))
            if frame.shape != shape or frame.ndim != 3 or frame.shape[2] != 3:
                raise ValueError(
                    f"frame {t} is {frame.shape}, the first one {shape}; need (H, W, 3)"
                )
            resized.append(plan(torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)))
        if not resized:
            raise ValueError("the video has no frames")
        return torch.stack(resized), (shape[0], shape[1])


def known_classes(cfg: CfgNode, metadata: Mapping[str, str]) -> list[str]:
    """Class names that the weights carry, else those of the first data set in DATASETS.TEST.

    Empty, with a warning, if the json of that data set is not at hand.

    Args:
        metadata: of the weights, see `engine.export`.
    """
    names = json.loads(metadata.get("classes", "[]"))
    if names or not cfg.DATASETS.TEST:
        return names
    try:
        register_datasets(cfg)
        return list(datasets.metadata(cfg.DATASETS.TEST[0]).classes)
    except ValueError as error:
        logger.warning("class names are not known, numbers are shown instead: %s", error)
        return []


@dataclass(frozen=True)
class _Watched:
    """A clip (T, 3, h, w) that tells how many of its frames have been taken."""

    images: Tensor
    progress: Progress

    @property
    def shape(self) -> torch.Size:
        return self.images.shape

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: slice) -> Tensor:
        piece = self.images[key]
        self.progress(len(piece))
        return piece
