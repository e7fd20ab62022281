"""Ground-truth and predicted tracks of videos, as the metrics take them.

Readers are in `reading`. T frames of a video, t from 0; a mask is the compressed counts of a
frame of the video's size (see `masks`), None where a track is absent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from dvis_daq.metrics.masks import Counts, Size

Masks = tuple[Counts | None, ...]  # T entries


@dataclass(frozen=True)
class Video:
    """A video of the ground truth; height and width in pixels, length in frames."""

    id: int
    height: int
    width: int
    length: int

    @property
    def size(self) -> Size:
        return self.height, self.width


@dataclass(frozen=True)
class ObjectTrack:
    """A ground-truth object.

    Attributes:
        masks: T entries.
        crowd: stands for several objects; never a miss, absorbs any number of predictions.
        area: mean of the json's `areas` over the frames in which it is visible, in pixels,
            0 if there are none; None if the json has no areas.
        occlusion: 0..1, the mean occlusion of the more occluded half of its visible frames;
            None if the json does not tell.
    """

    id: int
    video_id: int
    category_id: int
    masks: Masks
    crowd: bool = False
    area: float | None = None
    occlusion: float | None = None


@dataclass(frozen=True)
class PredictedTrack:
    """An entry of a results.json; `index` is its place in that file."""

    index: int
    video_id: int
    category_id: int
    score: float
    masks: Masks


@dataclass(frozen=True)
class GroundTruth:
    """All objects of a data set.

    Attributes:
        source: the file, for messages.
        videos: by id, in rising order.
        categories: names by id, in rising order.
        tracks: in file order.
    """

    source: str
    videos: dict[int, Video]
    categories: dict[int, str]
    tracks: tuple[ObjectTrack, ...]

    @property
    def has_occlusion(self) -> bool:
        return any(track.occlusion is not None for track in self.tracks)

    def restrict(self, videos: Iterable[int]) -> GroundTruth:
        """Only the videos with these ids.

        Raises:
            ValueError: an id is not in the ground truth, or none is given.
        """
        chosen = set(videos)
        unknown = sorted(chosen - self.videos.keys())
        if unknown:
            raise ValueError(f"{self.source} has no videos with the ids {unknown[:10]}")
        if not chosen:
            raise ValueError(f"no video of {self.source} was chosen: name at least one id")
        return replace(
            self,
            videos={key: video for key, video in self.videos.items() if key in chosen},
            tracks=tuple(track for track in self.tracks if track.video_id in chosen),
        )
