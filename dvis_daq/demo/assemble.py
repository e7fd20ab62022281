"""From the journal of a job to the tracks of a video."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dvis_daq.demo.journal import Journal, Row, rows_of
from dvis_daq.tasks.vis import RLE
from dvis_daq.tracks import SkippedFrame, Track, Video, VideoTracks


@dataclass
class _Life:
    """A track that is being put together."""

    born: int
    states: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    masks: list[RLE | None] = field(default_factory=list)

    def add(self, frame: int, row: Row) -> None:
        """Frames in between, without a row, are hidden ones."""
        missing = frame - self.born - len(self.states)
        self.states.extend("h" * missing)
        self.scores.extend([0.0] * missing)
        self.masks.extend([None] * missing)
        self.states.append("v" if row.visible and row.mask is not None else "h")
        self.scores.append(row.frame_score)
        self.masks.append(row.mask)


def assemble(
    journal: Journal,
    *,
    name: str,
    source: str,
    fps: float | None,
    task: str,
    classes: Sequence[str],
    class_name: Callable[[int], str],
    score: float = 0.0,
    wanted: Sequence[str] | None = None,
) -> VideoTracks:
    """The tracks of a finished job, each with the class and the score that it had in the end.

    Tracks without a single pixel are left out. Only the masks of tracks that stay are held in
    memory.

    Args:
        journal: of the job.
        name, source, fps: of the video.
        task: vis | vps | vss.
        classes: names of the class indices.
        class_name: of a class index, also where there is no name.
        score: least score of a track.
        wanted: names of the classes to keep; None keeps all.

    Raises:
        ValueError: no frame could be read.
    """
    last, frames, size = _summary(journal)
    kept = {
        track
        for track, row in last.items()
        if row.score >= score and (wanted is None or class_name(row.label) in wanted)
    }
    lives, cuts, skipped = _lives(journal, kept)
    tracks = [
        Track(
            id=track,
            label=last[track].label,
            name=class_name(last[track].label),
            score=last[track].score,
            born=life.born,
            states="".join(life.states),
            scores=tuple(life.scores),
            masks=tuple(life.masks),
        )
        for track, life in lives.items()
        if any(life.masks)
    ]
    video = Video(name, source, size[0], size[1], fps, frames)
    return VideoTracks(video, tuple(tracks), task, tuple(classes), cuts, skipped)


def _summary(journal: Journal) -> tuple[dict[int, Row], int, tuple[int, int]]:
    """The last row of each track, the number of frames, and their size."""
    last: dict[int, Row] = {}
    frames, size = 0, None
    for line in journal.lines():
        frames = max(frames, line["t"] + 1)
        size = line.get("size", size)
        last.update({row.id: row for row in rows_of(line)})
    if size is None:
        raise ValueError("no frame of the video could be read")
    return last, frames, (size[0], size[1])


def _lives(
    journal: Journal, kept: set[int]
) -> tuple[dict[int, _Life], tuple[int, ...], tuple[SkippedFrame, ...]]:
    lives: dict[int, _Life] = {}
    cuts, skipped = [], []
    for line in journal.lines():
        if line.get("cut"):
            cuts.append(line["t"])
        if "skipped" in line:
            skipped.append(SkippedFrame(line["t"], line["skipped"]))
        for row in rows_of(line):
            if row.id in kept:
                lives.setdefault(row.id, _Life(line["t"])).add(line["t"], row)
    return lives, tuple(cuts), tuple(skipped)
