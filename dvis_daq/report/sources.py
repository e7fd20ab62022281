"""Where the clips of a report come from: results.json, ground truth and image folders."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from dvis_daq.data.decoding import BrokenFrame
from dvis_daq.data.video_io import FrameSource, ImageFiles, open_frames
from dvis_daq.metrics.tracks import GroundTruth, PredictedTrack
from dvis_daq.tracks import Track, Video, VideoTracks


@dataclass(frozen=True)
class FirstFrames:
    """The first `count` frames of a source, which may go on; None for one that is broken."""

    source: FrameSource
    count: int

    def __iter__(self) -> Iterator[np.ndarray | None]:
        for frame in islice(self.source.attempts(), self.count):
            yield None if isinstance(frame, BrokenFrame) else frame


@dataclass(frozen=True)
class VideoFiles:
    """The frames of a video as an annotation json names them, relative to the image folder."""

    id: int
    files: tuple[str, ...]

    @property
    def name(self) -> str:
        """The folder of the frames; the id where they lie in none."""
        folder = PurePosixPath(self.files[0]).parent.as_posix() if self.files else "."
        return str(self.id) if folder == "." else folder

    def frames(self, images: str | Path) -> ImageFiles:
        return ImageFiles(tuple(Path(images, name) for name in self.files))


def read_video_files(path: str | Path) -> dict[int, VideoFiles]:
    """The videos of an annotation json by id.

    Raises:
        ValueError: a video without an id or file names.
    """
    found = {}
    for n, entry in enumerate(json.loads(Path(path).read_text(encoding="utf-8"))["videos"]):
        names = entry.get("file_names")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{path}: videos[{n}] needs 'file_names', a path for each frame")
        found[entry["id"]] = VideoFiles(entry["id"], tuple(names))
    return found


def videos_by_name(names: Sequence[str], path: str | Path) -> list[int]:
    """Ids of the videos of an annotation json whose frames lie in folders with these names.

    Raises:
        ValueError: none, or several.
    """
    videos = read_video_files(path)
    return [_by_name(videos.values(), name, path) for name in names]


def same_number(ids: Sequence[int], names: Sequence[str]) -> list[int]:
    """The ids, one for each clip.

    Raises:
        ValueError: more or fewer.
    """
    if len(ids) != len(names):
        raise ValueError(f"--videos names {len(ids)} videos, --tracks {len(names)} files")
    return list(ids)


def read_figures(path: str | Path) -> dict[str, Any]:
    """The figures of one data set, as `tools/eval.py --json` writes them.

    Raises:
        ValueError: no json object, or one of several data sets.
    """
    try:
        figures = json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no json ({error}); tools/eval.py --json writes it") from None
    if not isinstance(figures, dict) or "counts" not in figures:
        raise ValueError(
            f"{path}: no figures of one data set; write them with tools/eval.py --json, "
            "one data set at a time"
        )
    return figures


def frames_of(content: VideoTracks, source: str | None = None) -> FirstFrames:
    """The frames that tracks were made from.

    Args:
        source: folder, glob or video file; None takes the one that the tracks name.

    Raises:
        ValueError: there is nothing to read, or it was live.
    """
    name = source or content.video.source
    try:
        found = open_frames(name)
    except ValueError as error:
        if source is not None:
            raise
        raise ValueError(f"{error}; name the frames of the tracks with --input") from None
    if found.live:
        raise ValueError(f"{name} is live, its frames are gone; name a recording with --input")
    return FirstFrames(found, content.video.frames)


def tracks_from_results(
    predictions: Iterable[PredictedTrack],
    truth: GroundTruth,
    files: VideoFiles,
    *,
    images: str | Path,
    score: float,
) -> VideoTracks:
    """The entries of a results.json for one video as tracks, best first.

    A results.json knows neither ids nor hidden states: ids count from 1, an entry is born with
    its first mask and goes after its last, and hides where it has none in between.

    Args:
        predictions: of any videos.
        truth: names sizes and classes.
        score: least score.
    """
    video = truth.videos[files.id]
    labels = {category: n for n, category in enumerate(truth.categories)}
    mine = [p for p in predictions if p.video_id == video.id and p.score >= score and any(p.masks)]
    mine.sort(key=lambda p: -p.score)
    return VideoTracks(
        video=Video(files.name, str(images), video.height, video.width, None, video.length),
        tracks=tuple(
            _track(n, p, labels[p.category_id], truth.categories[p.category_id], video.size)
            for n, p in enumerate(mine, start=1)
        ),
        classes=tuple(truth.categories.values()),
    )


def _by_name(videos: Iterable[VideoFiles], name: str, path: str | Path) -> int:
    found = [video.id for video in videos if PurePosixPath(video.name).name == name]
    if len(found) != 1:
        raise ValueError(
            f"{path}: {len(found)} videos have their frames in a folder '{name}'; "
            "name the id of the right one with --videos"
        )
    return found[0]


def _track(
    number: int, found: PredictedTrack, label: int, name: str, size: tuple[int, int]
) -> Track:
    there = [bool(mask) for mask in found.masks]
    born, stop = there.index(True), len(there) - there[::-1].index(True)
    masks = [None if m is None else {"size": list(size), "counts": m} for m in found.masks]
    return Track(
        id=number,
        label=label,
        name=name,
        score=found.score,
        born=born,
        states="".join("v" if seen else "h" for seen in there[born:stop]),
        scores=(found.score,) * (stop - born),
        masks=tuple(masks[born:stop]),
    )


def spread(ids: Sequence[int], count: int) -> list[int]:
    """At most `count` of the ids, evenly spread."""
    if len(ids) <= count:
        return list(ids)
    chosen = [ids[round(i * (len(ids) - 1) / max(count - 1, 1))] for i in range(count)]
    return [key for key, _ in groupby(chosen)]
