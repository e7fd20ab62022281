"""Panoptic videos, as the metrics take them: segments by frame, their pixels in PNG files.

Readers are in `panoptic_reading`. A pixel of a PNG is a segment id, R + 256 G + 65536 B, 0 for
void; a segment keeps its id over the whole video.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple


class Category(NamedTuple):
    name: str
    isthing: bool


class Segment(NamedTuple):
    """One segment of one frame, as a json lists it; `area` in pixels."""

    id: int
    category_id: int
    crowd: bool
    area: int


class PanopticFrame(NamedTuple):
    """The segments of a frame in the order of the json; `png` has their pixels."""

    png: Path
    segments: tuple[Segment, ...]


Frames = tuple[PanopticFrame, ...]  # of one video, in the order of time


@dataclass(frozen=True)
class PanopticTruth:
    """Ground truth of a data set.

    Attributes:
        source: the json, for messages.
        categories: by id, in rising order.
        videos: frames by video id, in rising order.
        names: of the frames of each video, without folder and ending.
        sizes: (height, width) of the frames of each video, in pixels.
    """

    source: str
    categories: dict[int, Category]
    videos: dict[str, Frames]
    names: dict[str, tuple[str, ...]]
    sizes: dict[str, tuple[tuple[int, int], ...]]

    def restrict(self, videos: Iterable[str]) -> PanopticTruth:
        """Only the videos with these ids.

        Raises:
            ValueError: an id is not in the ground truth, or none is given.
        """
        return replace(self, videos=restricted(self.videos, videos, self.source))


def restricted(videos: dict[str, Frames], chosen: Iterable[str], source: str) -> dict[str, Frames]:
    """The chosen entries of a table of videos, in its order; raises as `PanopticTruth.restrict`."""
    wanted = {str(video) for video in chosen}
    unknown = sorted(wanted - videos.keys())
    if unknown:
        raise ValueError(f"{source} has no videos with the ids {unknown[:10]}")
    if not wanted:
        raise ValueError(f"no video of {source} was chosen: name at least one id")
    return {key: video for key, video in videos.items() if key in wanted}
