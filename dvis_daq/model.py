"""The one nn.Module that Detectron2 sees: a segmenter, a tracker, perhaps a refiner.

What a method is, is said in `recipes.py`; here is only what they share: the loop over a
video, the freezing of what does not learn, and the two answers of `forward`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn

from dvis_daq.checkpoint import register_official_names
from dvis_daq.segmenter import Segmenter
from dvis_daq.structures import FrameOutputs, FrameSizes, VideoPrediction
from dvis_daq.tracker.bank import TrackBank
from dvis_daq.tracker.state import TrackerStep, TrackState, advance
from dvis_daq.training.objectives import Clip, Objective

Video = Mapping[str, Any]
TaskHead = Callable[[VideoPrediction, FrameSizes], dict[str, Any]]


class LifeRule(Protocol):
    """Which rows of a step are accepted; see `tracker.state.Lifecycle`."""

    patience: int

    def seen(self, state: TrackState, step: TrackerStep, frame: FrameOutputs) -> Tensor: ...


class TrackedFrame(NamedTuple):
    """All that is known of one frame once it is done."""

    state: TrackState  # after the frame
    frame: FrameOutputs  # what the segmenter said
    step: TrackerStep  # what the tracker said, N + M rows
    seen: Tensor  # (N + M,) bool, rows accepted
    rows: Tensor  # (N',) rows that live on, in the order of state.ids


class VideoModel(nn.Module):
    """Segments and tracks the objects of a video.

    Args:
        segmenter: images -> `FrameOutputs`.
        tracker: has `start()` and `step(state, frame)`.
        lifecycle: accepts or rejects the rows of a step.
        task: turns a `VideoPrediction` into what is delivered (`tasks/`).
        objective: the losses; names in `trains` the parts that learn, the others are frozen.
        window: frames that pass the segmenter at once, at inference.
        mask_dtype: of the masks stored for a video; None keeps that of the network.
    """

    def __init__(
        self,
        *,
        segmenter: Segmenter,
        tracker: nn.Module,
        lifecycle: LifeRule,
        task: TaskHead,
        objective: Objective,
        window: int = 5,
        mask_dtype: torch.dtype | None = torch.float16,
    ) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.tracker = tracker
        self.lifecycle = lifecycle
        self.task = task
        self.objective = objective
        self.window = window
        self.mask_dtype = mask_dtype
        for part in self._frozen():
            part.requires_grad_(False)
        register_official_names(self)

    @property
    def device(self) -> torch.device:
        return self.segmenter.pixel_mean.device

    def train(self, mode: bool = True) -> VideoModel:
        """Frozen parts stay in evaluation mode (no dropout, fixed statistics)."""
        super().train(mode)
        for part in self._frozen():
            part.eval()
        return self

    def forward(self, videos: Sequence[Video]) -> dict[str, Tensor] | list[dict[str, Any]]:
        """The weighted losses of some clips, or the results of some videos.

        Args:
            videos: as `data.ClipMapper` makes them: "images" (T, 3, H, W) uint8 RGB and, in
                training, "targets" (`ClipTargets`); "height" and "width" of the original.

        Returns:
            In training a loss by name; the iteration, which sets the stage of the simulation,
            is Detectron2's event storage's, the one clock that is saved and restored. At
            inference one result a video.
        """
        if self.training:
            clips = [self._clip(video) for video in videos]
            return self.objective(self, clips, get_event_storage().iter)
        return [self.task(self.predict(video["images"]), self._sizes(video)) for video in videos]

    @torch.no_grad()
    def frames(self, images: Tensor, state: TrackState | None = None) -> Iterator[TrackedFrame]:
        """Segments and tracks, one frame at a time.

        Args:
            images: (T, 3, H, W) RGB 0..255, or anything that slices to that.
            state: where an earlier piece of the video ended; None starts a video.
        """
        if state is None:
            state = self.tracker.start()
        for piece in self.segmenter.windows(images, self.window):
            for frame in piece:
                step = self.tracker.step(state, frame)
                seen = self.lifecycle.seen(state, step, frame)
                state, rows = advance(state, step, seen, self.lifecycle.patience)
                yield TrackedFrame(state, frame, step, seen, rows)

    def predict(self, images: Tensor) -> VideoPrediction:
        """All tracks of a whole video; its masks are kept on the host at stride 4."""
        bank = TrackBank(dtype=self.mask_dtype)
        for done in self.frames(images):
            bank.add(done.state, done.step, done.rows, done.seen)
        return bank.drain()

    def _frozen(self) -> list[nn.Module]:
        return [part for name, part in self.named_children() if name not in self.objective.trains]

    def _clip(self, video: Video) -> Clip:
        return Clip(video["images"].to(self.device), video["targets"].to(self.device))

    def _sizes(self, video: Video) -> FrameSizes:
        height, width = video["images"].shape[-2:]
        step = self.segmenter.size_divisibility
        padded = (-height % step + height, -width % step + width)
        output = (video.get("height", height), video.get("width", width))
        return FrameSizes(padded, (height, width), output)
