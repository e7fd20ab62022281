"""A whole job: from an input to a folder of results."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from dvis_daq.checkpoint import write_atomically
from dvis_daq.data.video_io import FrameSource, open_frames
from dvis_daq.demo.assemble import assemble
from dvis_daq.demo.journal import Journal
from dvis_daq.demo.overlay import OVERLAYS, draw_result, draw_video, open_sinks
from dvis_daq.demo.segment import Segmenting, Watch, bar
from dvis_daq.predictor import VideoPredictor
from dvis_daq.streaming import CutRule, FrameResult
from dvis_daq.tracks import VideoTracks, write_tracks
from dvis_daq.tracks.formats import FORMATS
from dvis_daq.visualization import OverlayStyle

DEFAULT_FPS = 10.0  # of a folder of images


@dataclass(frozen=True)
class Job:
    """What is to be done.

    Attributes:
        input: folder, glob, video file, camera index or URL.
        output: folder for the results.
        score: least score of a track, 0..1.
        classes: names of the classes to keep; None keeps all.
        overlays: any of `overlay.OVERLAYS`.
        formats: any of `tracks.formats.FORMATS`, beside tracks.json.
        style: of the overlay.
        fps: of the overlay; None: as the input, or 10.
        max_frames: to stop after; None: all.
        cut: where shots begin.
        batch: frames that pass the segmenter at once.
        identity: what else tells this job from another one in the same folder.
        restart: forget a half-done job.
        save_every: seconds between two states on disk; what came after the last one is done again.

    Raises:
        ValueError: an overlay or a format that is not known, or fps that are not positive.
    """

    input: str
    output: Path
    score: float = 0.3
    classes: Sequence[str] | None = None
    overlays: Sequence[str] = ("mp4",)
    formats: Sequence[str] = ()
    style: OverlayStyle = field(default_factory=OverlayStyle)
    fps: float | None = None
    max_frames: int | None = None
    cut: CutRule | None = None
    batch: int = 1
    identity: dict[str, Any] = field(default_factory=dict)
    restart: bool = False
    save_every: float = 20.0

    def __post_init__(self) -> None:
        if self.fps is not None and not self.fps > 0:
            raise ValueError(f"fps must be positive, got {self.fps:g}")
        for kind, names, known in (
            ("overlay", self.overlays, OVERLAYS),
            ("format", self.formats, FORMATS),
        ):
            for name in names:
                if name not in known:
                    raise ValueError(f"no {kind} '{name}'; there are {', '.join(known)}")


@dataclass(frozen=True)
class Done:
    """What came of a job.

    Attributes:
        tracks: the content of tracks.json.
        files: what was written.
        seconds: of the whole job, drawing included.
    """

    tracks: VideoTracks
    files: list[Path]
    seconds: float


def run_job(job: Job, make_predictor: Callable[[], VideoPredictor]) -> Done:
    """Segments, draws, writes. An interrupted job goes on when it is run again.

    Args:
        job: what is to be done.
        make_predictor: called once the input is known to be readable.

    Raises:
        ValueError, OSError: something given is missing or does not fit.
    """
    started = time.perf_counter()
    source = open_frames(job.input)
    predictor = make_predictor()
    _check_classes(job.classes, predictor.class_names)
    fps = job.fps or source.fps or DEFAULT_FPS
    folder = job.output / ".job"
    if folder.exists() and (job.restart or source.live):
        shutil.rmtree(folder)
    journal = Journal(folder, job.identity | {"input": job.input, "max_frames": job.max_frames})
    try:
        _segment(job, predictor, source, journal, fps)
        content = assemble(
            journal,
            name=_name_of(job.input),
            source=getattr(source, "name", job.input),
            fps=source.fps,
            task=predictor.task,
            classes=predictor.class_names,
            class_name=predictor.class_name,
            score=job.score,
            wanted=job.classes,
        )
    finally:
        journal.close()
    if not source.live:
        _draw(job, content, source, fps)
    files = _write(job, content)
    journal.remove()
    return Done(content, files, time.perf_counter() - started)


def _segment(
    job: Job, predictor: VideoPredictor, source: FrameSource, journal: Journal, fps: float
) -> None:
    """A live source is drawn while it runs, any other one later, when scores are final."""
    live = source.live and job.overlays
    with open_sinks(job.overlays, job.output, fps) if live else nullcontext([]) as sinks:

        def watch(result: FrameResult, frame: np.ndarray) -> None:
            picture = draw_result(result, frame, job.style, score=job.score, wanted=job.classes)
            for sink in sinks:
                sink.write(picture)

        shown: Watch | None = watch if live else None
        Segmenting(
            predictor,
            source,
            journal,
            save_every=job.save_every,
            cut=job.cut,
            limit=job.max_frames,
            batch=job.batch,
            watch=shown,
        ).run()


def _draw(job: Job, content: VideoTracks, source: FrameSource, fps: float) -> None:
    if not job.overlays:
        return
    frames = islice(source.attempts(), job.max_frames)
    with (
        open_sinks(job.overlays, job.output, fps) as sinks,
        bar("draw", source, job.max_frames) as progress,
    ):
        draw_video(content, frames, sinks, job.style, progress.update)


def _write(job: Job, content: VideoTracks) -> list[Path]:
    files = [job.output / OVERLAYS[kind] for kind in job.overlays]
    files.append(job.output / "tracks.json")
    write_tracks(files[-1], content)
    for name in job.formats:
        file, convert = FORMATS[name]
        value = convert(content)
        text = value if isinstance(value, str) else json.dumps(value)
        files.append(job.output / file)
        write_atomically(files[-1], lambda out, text=text: out.write(text.encode("utf-8")))
    return files


def _check_classes(wanted: Sequence[str] | None, known: Sequence[str]) -> None:
    for name in wanted or ():
        if known and name not in known:
            raise ValueError(f"no class '{name}'; there are {', '.join(known)}")


def _name_of(source: str) -> str:
    if "://" in source:
        return source.rstrip("/").rpartition("/")[2].partition("?")[0] or "stream"
    return f"camera{source}" if source.isdecimal() else Path(os.path.abspath(source)).stem
