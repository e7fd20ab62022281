"""Everything that is wrong with a panoptic, semantic, object or still-image data set on disk.

The readers list what is wrong with the annotation files, in place of the first error; then the
frames and the PNGs are opened. `checks` has the same for YouTube-VIS and OVIS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dvis_daq.data.annotations import Record
from dvis_daq.data.checks import check, check_frames
from dvis_daq.data.errors import BrokenDataError, Skipped
from dvis_daq.data.panoptic import PanopticFrames, segment_ids
from dvis_daq.data.schema import Problem
from dvis_daq.data.semantic import SemanticFrames
from dvis_daq.data.sources import READERS, Source

Progress = Callable[[Sequence[Any]], Iterable[Any]]

READER_REMEDY = "repair or remove the entry"


def check_source(
    source: Source, *, decode: bool = False, progress: Progress = iter
) -> list[Problem]:
    """All findings, errors and warnings.

    Args:
        source: the data set, of any task.
        decode: read every frame and every PNG to its end, and compare the PNGs with the json.
        progress: wraps the list of videos, e.g. `tqdm`.

    Raises:
        ValueError: the annotation file is missing or of another kind.
    """
    found: list[Problem] = []
    if source.task in ("vis", "vos"):
        found += check(source.json, source.images, decode=decode, progress=progress)
    if source.task == "vis" or any(p.entry == "top level" for p in found):
        return found
    faults = _Faults(str(source.json))
    records, categories = READERS[source.task](source, faults)
    if source.task == "vos":  # its json was checked above, all but the numbers of the objects
        return found + [p for p in faults.problems if "object_id" in p.text]
    found += faults.problems
    owner: dict[str, str] = {}
    used: set[int] = set()
    for record in progress(records):
        found += _record(record, source.images, decode=decode, owner=owner, used=used)
    if used and decode:
        unused = [name for k, name in enumerate(categories.names) if k not in used]
        if unused:
            text = f"{len(unused)} classes have no object: {', '.join(unused[:8])}"
            found.append(Problem("warning", "categories", text, "a model cannot learn them here"))
    return found


class _Faults(Skipped):
    """Keeps what a reader leaves out."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.problems: list[Problem] = []

    def add(self, error: BrokenDataError) -> None:
        self.problems.append(Problem("error", self.name, str(error), READER_REMEDY))


def _record(
    record: Record, images: Path, *, decode: bool, owner: dict[str, str], used: set[int]
) -> Iterator[Problem]:
    """Frames of one video or image, then its targets."""
    entry = f"video '{record['video_id']}'"
    size = (record["height"], record["width"])
    names = [str(Path(file).relative_to(images)) for file in record["file_names"]]
    yield from check_frames(entry, names, images, size, decode=decode, owner=owner)
    targets = record["targets"]
    frames = range(record["length"])
    if targets.is_empty(frames):
        text = "has no annotation"
        yield Problem("warning", entry, text, "training leaves it out")
    elif decode and isinstance(targets, PanopticFrames):
        yield from _panoptic(entry, targets, used)
    elif decode and isinstance(targets, SemanticFrames):
        yield from _semantic(entry, targets, used)


def _panoptic(entry: str, targets: PanopticFrames, used: set[int]) -> Iterator[Problem]:
    """Segments of the json against those of the PNGs."""
    for t, file in enumerate(targets.files):
        listed = targets.segments(t)
        used |= set(listed.values())
        try:
            drawn = set(np.unique(segment_ids(file, targets.size)).tolist()) - {0}
        except BrokenDataError as error:
            yield Problem("error", entry, str(error), "convert or copy the file again")
            continue
        for ids, text in (
            (drawn - set(listed), "segments are not in the json"),
            (set(listed) - drawn, "segments of the json have no pixel"),
        ):
            if ids:
                where = f"{file}: {len(ids)} {text}, first {min(ids)}"
                yield Problem("error", entry, where, "convert the video again")


def _semantic(entry: str, targets: SemanticFrames, used: set[int]) -> Iterator[Problem]:
    """Values of the PNGs."""
    for t in range(len(targets.files)):
        try:
            used |= set(np.unique(targets.labels(t)).tolist())
        except BrokenDataError as error:
            yield Problem("error", entry, str(error), "copy or correct the file")
