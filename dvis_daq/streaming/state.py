"""All that a video leaves behind when it is paused: a value, in memory or in a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dvis_daq.checkpoint import read_checkpoint, write_weights
from dvis_daq.refiner.sequences import Candidates, SequenceFrame
from dvis_daq.tracker.appearance import AppearanceMemory
from dvis_daq.tracker.bank import LogitMeans
from dvis_daq.tracker.pooling import BestScores
from dvis_daq.tracker.state import TrackState

FORMAT = "dvis_daq.video_state.1"


@dataclass(frozen=True)
class Roster:
    """Who has been shown and may be shown again, and who of them was visible in the last frame.

    Attributes:
        ids: rising.
        visible: those of `ids` that were visible.
    """

    ids: tuple[int, ...] = ()
    visible: tuple[int, ...] = ()


@dataclass(frozen=True)
class HeldFrame:
    """A frame that waits for its window to be full (offline models).

    Attributes:
        index: of the frame in the video.
        sequence: what the refiner reads of it.
        pixels: (1, 3, h, w) uint8, the frame at network size; or (1, D, h, w) mask features.
    """

    index: int
    sequence: SequenceFrame
    pixels: Tensor


@dataclass(frozen=True)
class VideoState:
    """Where a video stands after a frame. Nothing else is remembered of it.

    Keep it to pause a video, write it to go on in another process, hold several to interleave
    videos. Memory does not grow with the length of the video (docs/streaming.md).

    Attributes:
        frame: frames taken so far, which is the index of the next one.
        size: (height, width) of the frames; None before the first one.
        tracks: of the tracker; None before the first frame of a shot.
        first_id: of the tracks of a shot that has not begun.
        means: of the class logits of living tracks; None without any.
        best: best class scores of living tracks, with a model that pools them so (GenVIS).
        refined: means of the class scores over the windows, with an offline model.
        roster: who has been shown.
        held: frames that wait, with an offline model.
        spoken: index of the next frame to be spoken of. Less than `frame` while frames wait,
            more where the frames of a clip come again after a pause within it.
    """

    frame: int = 0
    size: tuple[int, int] | None = None
    tracks: TrackState | None = None
    first_id: int = 0
    means: LogitMeans | None = None
    best: BestScores | None = None
    refined: LogitMeans | None = None
    roster: Roster = Roster()
    held: tuple[HeldFrame, ...] = ()
    spoken: int = 0

    def cut(self) -> VideoState:
        """The same video at the first frame of another shot: no track lives on, ids go on."""
        first = self.first_id if self.tracks is None else self.tracks.next_id
        return replace(
            self, tracks=None, first_id=first, means=None, best=None, refined=None, held=()
        )

    def bytes(self) -> int:
        """Memory of all its tensors."""
        return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(self))


def write_state(path: str | os.PathLike[str], state: VideoState) -> None:
    """Writes a state as `.safetensors`; the file appears only when it is complete."""
    tensors: dict[str, Tensor] = {}
    document = _pack(state, tensors)
    tensors["none"] = torch.zeros(0)  # the format wants one
    write_weights(path, tensors, {"format": FORMAT, "state": json.dumps(document)})


def read_state(
    path: str | os.PathLike[str],
    *,
    device: torch.device | str = "cpu",
    types: Iterable[type] = (),
) -> VideoState:
    """Reads a state.

    Args:
        device: where its tensors go.
        types: dataclasses of a tracker of your own that `TrackState` is not.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no state, or holds something that is not known here.
    """
    content = read_checkpoint(Path(path))
    metadata = content.get("metadata", {})
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path}: no state of a video; VideoPredictor.save() writes one")
    known = {kind.__name__: kind for kind in (*_KNOWN, *types)}
    tensors = {name: value.to(device) for name, value in content["model"].items()}
    try:
        return _unpack(json.loads(metadata["state"]), tensors, known)
    except KeyError as error:
        raise ValueError(f"{path}: {error.args[0]} is not known here") from None


_KNOWN = (
    VideoState,
    Roster,
    HeldFrame,
    TrackState,
    AppearanceMemory,
    LogitMeans,
    BestScores,
    SequenceFrame,
    Candidates,
)


def _pack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """A JSON document of `value`, whose tensors go to `tensors`."""
    if isinstance(value, Tensor):
        name = f"{len(tensors):05d}"
        tensors[name] = value
        return {"tensor": name}
    if _has_fields(value):
        return {"type": type(value).__name__} | {
            name: _pack(getattr(value, name), tensors) for name in _names(type(value))
        }
    if isinstance(value, (tuple, list)):
        return [_pack(item, tensors) for item in value]
    if isinstance(value, np.integer):
        return int(value)
    return value


def _unpack(document: Any, tensors: dict[str, Tensor], known: dict[str, type]) -> Any:
    if isinstance(document, list):
        return tuple(_unpack(item, tensors, known) for item in document)
    if not isinstance(document, dict):
        return document
    if "tensor" in document:
        return tensors[document["tensor"]]
    kind = known[document["type"]]
    return kind(**{name: _unpack(document[name], tensors, known) for name in _names(kind)})


def _tensors(value: Any) -> Iterable[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif _has_fields(value):
        for name in _names(type(value)):
            yield from _tensors(getattr(value, name))
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)


def _has_fields(value: Any) -> bool:
    return is_dataclass(value) or (isinstance(value, tuple) and hasattr(value, "_fields"))


def _names(kind: Any) -> tuple[str, ...]:
    return getattr(kind, "_fields", None) or tuple(field.name for field in fields(kind))
