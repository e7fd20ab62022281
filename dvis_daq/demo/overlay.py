"""Pictures with tracks over them, as a video, a GIF or single files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol

import cv2
import numpy as np
from PIL import Image

from dvis_daq.data.decoding import BrokenFrame
from dvis_daq.data.video_io import VideoWriter
from dvis_daq.streaming import FrameResult
from dvis_daq.tasks.vis import decode
from dvis_daq.tracks import State, VideoTracks
from dvis_daq.visualization import OverlayStyle, draw_tracks

GIF_SIDE = 480  # px, longer side of a GIF at most


class Sink(Protocol):
    """Takes pictures in order."""

    def write(self, frame: np.ndarray) -> None: ...


class FrameFolder:
    """Pictures as JPEG files 000000.jpg, 000001.jpg, ...

    Args:
        folder: made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0

    def write(self, frame: np.ndarray) -> None:
        """Writes the next file from (H, W, 3) uint8 RGB."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{self._count:06d}.jpg"
        if not cv2.imwrite(str(path), frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92]):
            raise OSError(f"{path}: cannot be written")
        self._count += 1


class GifWriter:
    """An animated GIF; it holds its pictures in memory, one byte a pixel.

    Args:
        path: of the file, which appears at the end.
        fps: frames per second; players show 50 at most.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path = path
        self._milliseconds = max(20, round(1000 / fps))
        self._pictures: list[Image.Image] = []

    def __enter__(self) -> GifWriter:
        return self

    def write(self, frame: np.ndarray) -> None:
        """Appends (H, W, 3) uint8 RGB."""
        picture = Image.fromarray(frame)
        picture.thumbnail((GIF_SIDE, GIF_SIDE))
        self._pictures.append(picture.quantize(128))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self._pictures:
            first, *rest = self._pictures
            first.save(
                self.path,
                save_all=True,
                append_images=rest,
                duration=self._milliseconds,
                loop=0,
            )


OVERLAYS = {"mp4": "overlay.mp4", "gif": "overlay.gif", "frames": "overlay"}  # -> its name


@contextmanager
def open_sinks(kinds: Sequence[str], output: Path, fps: float) -> Iterator[list[Sink]]:
    """The wanted overlays in the folder `output`."""
    output.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        sinks: list[Sink] = []
        for kind in kinds:
            path = output / OVERLAYS[kind]
            if kind == "frames":
                sinks.append(FrameFolder(path))
            else:
                make = VideoWriter if kind == "mp4" else GifWriter
                sinks.append(stack.enter_context(make(path, fps=fps)))
        yield sinks


def draw_video(
    content: VideoTracks,
    frames: Iterable[np.ndarray | BrokenFrame],
    sinks: Sequence[Sink],
    style: OverlayStyle,
    progress: Callable[[], object],
) -> None:
    """Draws the tracks of a video over its frames; for a broken one the last picture stays."""
    picture: np.ndarray | None = None
    for index, frame in enumerate(frames):
        if not isinstance(frame, BrokenFrame):
            picture = draw_frame(content, index, frame, style)
        if picture is not None:
            for sink in sinks:
                sink.write(picture)
        progress()


def draw_frame(
    content: VideoTracks, index: int, frame: np.ndarray, style: OverlayStyle
) -> np.ndarray:
    """One frame with its tracks; hidden ones say so."""
    shown = [track for track, _ in content.frame(index)]
    size = (frame.shape[0], frame.shape[1])
    masks = decode([track.mask(index) for track in shown], size)
    hidden = [track.state(index) is State.HIDDEN for track in shown]
    return draw_tracks(
        frame,
        masks=masks,
        ids=[track.id for track in shown],
        names=[_named(track.name, waits) for track, waits in zip(shown, hidden, strict=True)],
        scores=[track.score for track in shown],
        style=style,
    )


def draw_result(
    result: FrameResult,
    frame: np.ndarray,
    style: OverlayStyle,
    *,
    score: float,
    wanted: Sequence[str] | None,
) -> np.ndarray:
    """One frame as it is known while the video runs."""
    rows = [
        n
        for n, name in enumerate(result.names)
        if result.scores[n] >= score and (wanted is None or name in wanted)
    ]
    return draw_tracks(
        frame,
        masks=result.masks[rows],
        ids=result.ids[rows].tolist(),
        names=[_named(result.names[n], not result.visible[n]) for n in rows],
        scores=result.scores[rows].tolist(),
        style=style,
    )


def _named(name: str, hidden: bool) -> str:
    return f"{name} (hidden)" if hidden else name
