"""A trained model applied to frames: the way in for tools and notebooks."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

import dvis_daq.recipes  # noqa: F401  registers the methods
from dvis_daq.config import get_config
from dvis_daq.data import datasets
from dvis_daq.data.loader import register_datasets, test_transform
from dvis_daq.data.transforms import ClipTransform, Plan
from dvis_daq.engine.trained import trained_model
from dvis_daq.streaming import (
    CutRule,
    FrameResult,
    Mode,
    OnlineMode,
    Selection,
    Streamer,
    VideoState,
    WindowedMode,
    read_state,
    write_state,
)

logger = logging.getLogger(__name__)

Progress = Callable[[int], Any]  # told how many more frames the model has taken

_STREAM_OPTIONS = ("score", "classes", "window", "overlap", "max_tracks")


class VideoPredictor:
    """Segments and tracks what is in a video.

    Whole videos:

        predictor = VideoPredictor.from_config("daq.yaml", "daq.pth")
        result = predictor(frames)

    Frame by frame, in memory that does not grow with the video (docs/streaming.md):

        for result in predictor.stream(frames):
            print(result.index, result.new, result.departed)
            show(result.masks, result.ids)

        result = predictor.step(frame)     # or one at a time
        state = predictor.save()           # a value; pause here ...
        predictor.restore(state)           # ... and go on, here or in another process

    Args:
        model: a `VideoModel`; put to eval mode.
        transform: resize of the frames, without chance in it.
        task: what the model delivers, `MODEL.TASK`.
        class_names: of the class indices; may be shorter than the model has classes, or empty.
        score: streams show tracks whose score so far is at least this, 0..1.
        classes: streams show these classes alone, by name; None: all.
        window, overlap: of streams with an offline model, frames (`streaming.WindowedMode`).
        max_tracks: streams keep as many living tracks at most; None: no ceiling.

    Raises:
        ValueError: a class that is not known, or an overlap that does not fit the window.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        transform: ClipTransform,
        task: str = "vis",
        class_names: Sequence[str] = (),
        score: float = 0.0,
        classes: Sequence[str] | None = None,
        window: int = 30,
        overlap: int = 10,
        max_tracks: int | None = 300,
    ) -> None:
        self.model = model.eval()
        self.transform = transform
        self.task = task
        self.class_names = tuple(class_names)
        self.score = score
        self.classes = classes
        self.window = window
        self.overlap = overlap
        self.max_tracks = max_tracks
        self._state = VideoState()
        _ = self._streamer  # wrong options are told now

    @classmethod
    def from_config(
        cls,
        config_file: str | Path | None,
        weights: str | Path | None = None,
        opts: Sequence[str] = (),
        **options: Any,
    ) -> VideoPredictor:
        """Builds the model of a configuration and loads its weights.

        Args:
            config_file: a YAML, see `config.get_config`.
            weights: a checkpoint; None takes MODEL.WEIGHTS.
            opts: alternating keys and values that override the YAML.
            options: of the streams, as for the class itself.

        Raises:
            ValueError: something is missing or does not fit; the message says what to do.
        """
        named = [] if weights is None else ["MODEL.WEIGHTS", str(weights)]
        cfg = get_config(config_file, [*opts, *named])
        if not cfg.MODEL.WEIGHTS:
            raise ValueError("no weights: name a checkpoint, or set MODEL.WEIGHTS")
        if cfg.CPU_THREADS:
            torch.set_num_threads(cfg.CPU_THREADS)
        model, facts = trained_model(cfg)
        return cls(
            model,
            transform=test_transform(cfg),
            task=cfg.MODEL.TASK,
            class_names=known_classes(cfg, facts.get("metadata", {})),
            **options,
        )

    def fork(self, **options: Any) -> VideoPredictor:
        """A predictor of another video that shares the model.

        Args:
            options: of the streams, where they differ: score, classes, window, ...
        """
        own = {name: getattr(self, name) for name in _STREAM_OPTIONS}
        return VideoPredictor(
            self.model,
            transform=self.transform,
            task=self.task,
            class_names=self.class_names,
            **own | options,
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
        images, (height, width) = self._whole(frames)
        video = {
            "images": _Watched(images, progress or (lambda count: None)),
            "height": height,
            "width": width,
        }
        with torch.inference_mode():
            (result,) = self.model([video])
        return result

    def stream(
        self,
        frames: Iterable[np.ndarray | None],
        *,
        state: VideoState | None = None,
        batch: int = 1,
        cut: CutRule | None = None,
    ) -> Iterator[FrameResult]:
        """A result for each frame, as soon as the model can tell.

        That is at once with an online model, and up to `window` frames later with an offline
        one. After each result, `save()` gives the state from which another stream goes on.

        Args:
            frames: (H, W, 3) uint8 RGB arrays of one size. None stands for a frame that could
                not be read: it keeps its number and has no result, the tracks wait.
            state: where an earlier stream stood; the first frame is then number `state.frame`.
                None begins a video.
            batch: frames that pass the segmenter together; more is faster on a GPU, and as much
                later.
            cut: (index, frame) -> whether a new shot begins with the frame. No track crosses a
                cut, and ids go on.

        Raises:
            ValueError: a frame of another size or kind.
        """
        self._state = state or VideoState()
        results = self._streamer.results(frames, self._state, batch=batch, cut=cut)
        return (self._stands(result) for result in results)

    def step(self, frame: np.ndarray) -> FrameResult:
        """The result of the next frame of the video that this predictor is in.

        Raises:
            ValueError: a frame of another size or kind, or a model that speaks of several
                frames at once.
        """
        if self._offline or self.model.clip > 1:
            raise ValueError(
                "this model speaks of several frames at once: use stream(), not step()"
            )
        (result,) = self._streamer.step(self._state, frame)
        return self._stands(result)

    def save(self, path: str | os.PathLike[str] | None = None) -> VideoState:
        """Where the video stands.

        Args:
            path: also write it there, `.safetensors`.
        """
        if path is not None:
            write_state(path, self._state)
        return self._state

    def restore(self, state: VideoState | str | os.PathLike[str] | None) -> VideoState:
        """Goes on from a state, or a file with one; None begins a new video.

        Returns:
            The state; the next frame is number `state.frame`.

        Raises:
            ValueError: the file holds no state.
        """
        if state is None:
            state = VideoState()
        elif not isinstance(state, VideoState):
            kind = type(self.model.tracker.start())
            state = read_state(state, device=self.model.device, types=[kind])
        self._state = state
        return state

    def class_name(self, label: int) -> str:
        """Name of a class index; the index itself where the names are not known."""
        return self.class_names[label] if label < len(self.class_names) else f"class {label}"

    @property
    def _offline(self) -> bool:
        return getattr(self.model, "refiner", None) is not None

    @property
    def _streamer(self) -> Streamer:
        mode: Mode = OnlineMode(self.model, self.max_tracks)
        if self._offline:
            mode = WindowedMode(self.model, self.window, self.overlap, self.max_tracks)
        return Streamer(
            model=self.model,
            mode=mode,
            transform=self.transform,
            task=self.task,
            selection=Selection(self.score, self._labels(self.classes)),
            name=self.class_name,
        )

    def _stands(self, result: FrameResult) -> FrameResult:
        self._state = result.state
        return result

    def _labels(self, classes: Sequence[str] | None) -> frozenset[int] | None:
        if classes is None:
            return None
        for name in classes:
            if name not in self.class_names:
                known = ", ".join(self.class_names) or "no names"
                raise ValueError(f"no class '{name}'; there are {known}")
        return frozenset(self.class_names.index(name) for name in classes)

    def _whole(self, frames: Iterable[np.ndarray]) -> tuple[Tensor, tuple[int, int]]:
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
