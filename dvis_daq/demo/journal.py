"""The diary of a job: one line a frame, so that an interrupted job goes on where it was.

A folder with `job.json` (what is being done), `journal.jsonl` and `state.safetensors`. Lines
beyond the state are dropped when a job goes on: their frames come again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypedDict

from dvis_daq.checkpoint import write_atomically
from dvis_daq.streaming import FrameResult, VideoState, write_state
from dvis_daq.tasks.vis import RLE

LINES = "journal.jsonl"


@dataclass(frozen=True)
class Row:
    """One row of a frame."""

    id: int
    label: int
    score: float
    frame_score: float
    visible: bool
    mask: RLE | None


class Line(TypedDict, total=False):
    """Frame `t` has rows, or was skipped, or begins a shot."""

    t: int
    rows: list[list[Any]]
    size: list[int]
    skipped: str
    cut: bool


class Journal:
    """Written as a job goes on.

    Args:
        folder: of this job alone.
        job: what tells this job from another one in the same folder.

    Raises:
        ValueError: the folder holds another job.
    """

    def __init__(self, folder: Path, job: Mapping[str, Any]) -> None:
        self.folder = folder
        self.lines_file = folder / LINES
        self.state_file = folder / "state.safetensors"
        folder.mkdir(parents=True, exist_ok=True)
        _claim(folder / "job.json", job)
        self._file = self._opened()

    def add(self, line: Line) -> None:
        self._file.write(json.dumps(line) + "\n")

    def add_result(self, result: FrameResult) -> None:
        columns = (result.ids, result.labels, result.scores, result.frame_scores, result.visible)
        rows = zip(*(column.tolist() for column in columns), result.rles, strict=True)
        self.add({"t": result.index, "size": list(result.size), "rows": [list(r) for r in rows]})

    def save(self, state: VideoState) -> None:
        """From here the job can go on, even if the machine stops now."""
        self._file.flush()
        os.fsync(self._file.fileno())
        write_state(self.state_file, state)

    def rewind(self, state: VideoState) -> None:
        """Drops the lines of frames that come again after `state`."""
        self._file.close()
        with open(self.lines_file, encoding="ascii") as old:
            kept = [text for text in old if _is_done(text, state)]
        write_atomically(self.lines_file, lambda file: file.write("".join(kept).encode("ascii")))
        self._file = self._opened()

    def lines(self) -> Iterator[Line]:
        """All that was written, one frame at a time."""
        self._file.flush()
        with open(self.lines_file, encoding="ascii") as file:
            for text in file:
                yield json.loads(text)

    def _opened(self) -> TextIO:
        """By lines, so that `frames_done` sees them."""
        return open(self.lines_file, "a", encoding="ascii", buffering=1)

    def close(self) -> None:
        self._file.close()

    def remove(self) -> None:
        """The job is done."""
        self.close()
        self.state_file.unlink(missing_ok=True)  # first: without it, nothing goes on from the rest
        shutil.rmtree(self.folder)


def frames_done(folder: Path) -> int:
    """Frames that a job has written so far, for those who watch it; 0 before and after it."""
    try:
        lines = (folder / LINES).read_bytes().splitlines()
    except FileNotFoundError:
        return 0
    return sum(b'"rows"' in line or b'"skipped"' in line for line in lines)


def rows_of(line: Line) -> list[Row]:
    return [Row(*values) for values in line.get("rows", [])]


def _claim(path: Path, job: Mapping[str, Any]) -> None:
    """Notes what is being done, or makes sure that it is the same."""
    if not path.exists():
        write_atomically(path, lambda file: file.write(json.dumps(job).encode("utf-8")))
        return
    found = json.loads(path.read_bytes())
    changed = [key for key in job if found.get(key) != job[key]]
    if changed:
        raise ValueError(
            f"{path.parent}: a half-done job with another {', '.join(changed)}; finish it, name "
            "another output, or begin anew with --restart"
        )


def _is_done(text: str, state: VideoState) -> bool:
    if not text.endswith("\n"):  # cut off in the middle of a line
        return False
    line = json.loads(text)
    return line["t"] < (state.spoken if "rows" in line else state.frame)
