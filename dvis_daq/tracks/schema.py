"""`tracks.json`: who was where in a video, from birth to departure.

One JSON object, version 1:

    {
      "format": "dvis_daq.tracks", "version": 1, "task": "vis",
      "video": {"name": "street", "source": "street.mp4",
                "height": 480, "width": 854, "fps": 25.0, "frames": 300},
      "classes": ["person", "car"],
      "cuts": [120],
      "skipped": [{"frame": 17, "reason": "cannot be decoded"}],
      "tracks": [
        {"id": 3, "label": 1, "class": "car", "score": 0.91, "born": 12,
         "states": "vvvhhv",
         "scores": [0.93, 0.9, 0.88, 0.05, 0.04, 0.91],
         "masks": [{"size": [480, 854], "counts": "..."}, ..., null, ...]}
      ]
    }

* `frames` counts every frame of the input; a skipped one keeps its number and shows nothing.
* `cuts`: frames before which tracking began anew. No track lives across one.
* `id` is unique in the file and never reused. `vis`: the track. `vps`: the track of a thing, and
  -1 - label of a class of stuff. `vss`: the class index.
* `label` is an index into the model's classes, `class` its name.
* `score` 0..1 is that of the whole track, as it was when the track was last there.
* `states`, `scores` and `masks` have one entry for each frame from `born` on for as long as the
  track was kept: `v` visible, `h` hidden (not seen, but within the model's patience). After the
  last entry the track is gone, for good.
* A mask is a COCO run-length encoding at the size of the video, or null where the track has no
  pixel. A hidden track has a mask where the model guesses one (`TEST.SHOW_UNSEEN`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from itertools import groupby
from pathlib import Path
from typing import Any

from dvis_daq.checkpoint import write_atomically

RLE = dict[str, Any]  # {"size": [H, W], "counts": str}

FORMAT, VERSION = "dvis_daq.tracks", 1


class State(str, Enum):
    """What a track does in a frame."""

    UNBORN = "unborn"
    VISIBLE = "visible"
    HIDDEN = "hidden"
    GONE = "gone"


_LETTERS = {"v": State.VISIBLE, "h": State.HIDDEN}


@dataclass(frozen=True)
class Span:
    """Frames `start` .. `stop - 1` in which a track is visible, or hidden."""

    state: State
    start: int
    stop: int


@dataclass(frozen=True)
class Track:
    """One object (or one class of stuff) from birth to departure.

    Attributes:
        id: unique in the video.
        label: class index.
        name: of the class.
        score: 0..1, of the whole track.
        born: first frame.
        states: a letter a frame from `born` on, `v` or `h`.
        scores: 0..1, likewise.
        masks: RLE or None, likewise.
    """

    id: int
    label: int
    name: str
    score: float
    born: int
    states: str
    scores: tuple[float, ...]
    masks: tuple[RLE | None, ...]

    def __post_init__(self) -> None:
        lengths = {len(self.states), len(self.scores), len(self.masks)}
        if lengths in ({0}, set()) or len(lengths) != 1 or not set(self.states) <= set(_LETTERS):
            raise ValueError(
                f"track {self.id}: states, scores and masks need one entry a frame, and states "
                f"the letters v and h; found {sorted(lengths)} entries"
            )

    @property
    def stop(self) -> int:
        """The first frame in which the track is gone."""
        return self.born + len(self.states)

    def state(self, frame: int) -> State:
        """What the track does in a frame."""
        if frame < self.born:
            return State.UNBORN
        return State.GONE if frame >= self.stop else _LETTERS[self.states[frame - self.born]]

    def mask(self, frame: int) -> RLE | None:
        """Its mask in a frame; None where it has none."""
        return self.masks[frame - self.born] if self.born <= frame < self.stop else None

    def score_in(self, frame: int) -> float | None:
        """Its score in that frame alone; None where it does not live."""
        return self.scores[frame - self.born] if self.born <= frame < self.stop else None

    def spans(self) -> list[Span]:
        """Its life as stretches of one state each: born, hidden, back, and so on."""
        spans, start = [], self.born
        for letter, run in groupby(self.states):
            stop = start + len(list(run))
            spans.append(Span(_LETTERS[letter], start, stop))
            start = stop
        return spans


@dataclass(frozen=True)
class Video:
    """What was looked at.

    Attributes:
        name: short, without folder and suffix.
        source: file, folder, glob, camera or URL as it was named.
        height, width: pixels.
        fps: frames per second of the input; None where that is unknown.
        frames: number of frames, skipped ones included.
    """

    name: str
    source: str
    height: int
    width: int
    fps: float | None
    frames: int


@dataclass(frozen=True)
class SkippedFrame:
    """A frame that could not be read."""

    frame: int
    reason: str


@dataclass(frozen=True)
class VideoTracks:
    """The content of a `tracks.json`.

    Attributes:
        video: what was looked at.
        tracks: in order of birth.
        task: vis | vps | vss.
        classes: names of the class indices; may be empty.
        cuts: frames before which tracking began anew.
        skipped: frames that could not be read.
    """

    video: Video
    tracks: tuple[Track, ...]
    task: str = "vis"
    classes: tuple[str, ...] = ()
    cuts: tuple[int, ...] = ()
    skipped: tuple[SkippedFrame, ...] = ()

    def frame(self, index: int) -> Iterator[tuple[Track, RLE]]:
        """Tracks that have a mask in a frame, each with it."""
        for track in self.tracks:
            mask = track.mask(index)
            if mask is not None:
                yield track, mask

    def select(self, *, score: float = 0.0, classes: Sequence[str] | None = None) -> VideoTracks:
        """Only tracks of at least `score`, and of these classes; None: of all."""
        kept = [
            track
            for track in self.tracks
            if track.score >= score and (classes is None or track.name in classes)
        ]
        return VideoTracks(
            self.video, tuple(kept), self.task, self.classes, self.cuts, self.skipped
        )


def write_tracks(path: str | os.PathLike[str], content: VideoTracks) -> None:
    """Writes a `tracks.json`; the file appears only when it is complete."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "task": content.task,
        "video": asdict(content.video),
        "classes": list(content.classes),
        "cuts": list(content.cuts),
        "skipped": [asdict(skipped) for skipped in content.skipped],
        "tracks": [_document(track) for track in content.tracks],
    }
    write_atomically(Path(path), lambda file: file.write(json.dumps(document).encode("ascii")))


def read_tracks(path: str | os.PathLike[str]) -> VideoTracks:
    """Reads a `tracks.json`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such document, or one of another version.
    """
    try:
        document = json.loads(Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: no JSON ({error}); write it again with tools/demo.py") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f"{path}: no tracks file; tools/demo.py writes one as tracks.json")
    if document.get("version") != VERSION:
        raise ValueError(
            f"{path}: version {document.get('version')} of the format, this program reads "
            f"{VERSION}; write the file again with tools/demo.py"
        )
    try:
        return _content(document)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: not as the schema says ({error!r})") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _document(track: Track) -> dict[str, Any]:
    return {
        "id": track.id,
        "label": track.label,
        "class": track.name,
        "score": round(track.score, 5),
        "born": track.born,
        "states": track.states,
        "scores": [round(score, 5) for score in track.scores],
        "masks": list(track.masks),
    }


def _content(document: Mapping[str, Any]) -> VideoTracks:
    return VideoTracks(
        video=Video(**document["video"]),
        tracks=tuple(_track(entry) for entry in document["tracks"]),
        task=document["task"],
        classes=tuple(document["classes"]),
        cuts=tuple(document["cuts"]),
        skipped=tuple(SkippedFrame(**entry) for entry in document["skipped"]),
    )


def _track(entry: Mapping[str, Any]) -> Track:
    return Track(
        id=entry["id"],
        label=entry["label"],
        name=entry["class"],
        score=entry["score"],
        born=entry["born"],
        states=entry["states"],
        scores=tuple(entry["scores"]),
        masks=tuple(entry["masks"]),
    )
