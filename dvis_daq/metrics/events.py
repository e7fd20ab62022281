"""Objects that emerge, disappear and come back: AP^ed and event recalls.

Working definitions (the paper's Table A2 gives figures without any). V is the set of frames
in which an object has a pixel, of T frames:

* emerging: the first frame of V is not frame 0;
* disappearing: the last frame of V is not frame T - 1;
* reappearing: absent somewhere between the two;
* ed: any of the three.

Objects that are never visible have no event, and crowd objects are left out everywhere.

* AP^ed, track form: the AP in which objects without the flag are ignored (`event_slices`).
* AP^ed, video form: the plain AP of the videos with a share of ed objects (`EdShare`).
* Event recall (`EventRecall`): was the event seen by any prediction of the object's class?
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial

import numpy as np

from dvis_daq.metrics.matching import Slice
from dvis_daq.metrics.overlap import Overlap
from dvis_daq.metrics.video_ap import area_slices

FLAGS = ("ed", "emerging", "disappearing", "reappearing")


@dataclass(frozen=True)
class Visibility:
    """When G objects are visible: (G,) each.

    Attributes:
        first: first visible frame; 0 if never visible.
        last: last visible frame; T - 1 if never visible.
        frames: number of visible frames.
        ed, emerging, disappearing, reappearing: the flags, bool.
    """

    first: np.ndarray
    last: np.ndarray
    frames: np.ndarray
    ed: np.ndarray
    emerging: np.ndarray
    disappearing: np.ndarray
    reappearing: np.ndarray

    @classmethod
    def of(cls, visible: np.ndarray) -> Visibility:
        """From (T, G) bool."""
        length = len(visible)
        frames = visible.sum(0)
        first = visible.argmax(0)
        last = length - 1 - visible[::-1].argmax(0)
        emerging = (frames > 0) & (first > 0)
        disappearing = (frames > 0) & (last < length - 1)
        reappearing = (frames > 0) & (frames < last - first + 1)
        ed = emerging | disappearing | reappearing
        return cls(first, last, frames, ed, emerging, disappearing, reappearing)


def event_slices() -> dict[str, Slice]:
    """Slices of AP^ed, track form: each flag with all objects and the three area ranges."""
    slices: dict[str, Slice] = {}
    for flag in FLAGS:
        slices |= area_slices(flag, keeps=partial(_flagged, flag))
    return slices


def _flagged(flag: str, overlap: Overlap) -> np.ndarray:
    return getattr(Visibility.of(overlap.visible), flag)


class EdShare:
    """Share of ed objects among the visible, non-crowd objects of each video."""

    def __init__(self) -> None:
        self.counts: dict[int, tuple[int, int]] = {}  # video id -> (ed, visible)

    def add(self, overlap: Overlap) -> None:
        seen = Visibility.of(overlap.visible)
        keep = ~is_crowd(overlap) & (seen.frames > 0)
        ed, visible = self.counts.get(overlap.video.id, (0, 0))
        self.counts[overlap.video.id] = (ed + int(seen.ed[keep].sum()), visible + int(keep.sum()))

    def videos(self, share: float) -> list[int]:
        """Ids of the videos with at least this share, 0..1; never one without objects."""
        return [key for key, (ed, n) in self.counts.items() if n and ed / n >= share]


@dataclass
class EventRecall:
    """Counts of events and of those recalled, with a slack of d frames and IoU >= 0.5.

    * An emergence is recalled if a prediction hits the object in one of the frames
      first..first + d; strictly, if one that does so is empty in all frames before first - d.
    * A disappearance is recalled if a prediction hits the object in one of the frames
      last - d..last and is empty in frame min(last + 1 + d, T - 1).

    With many low scores the plain recall is optimistic; quote `min_score` with it.
    """

    slack: int
    min_score: float = 0.0
    emerging: int = 0
    emerging_hit: int = 0
    emerging_strict: int = 0
    disappearing: int = 0
    disappearing_hit: int = 0

    def add(self, overlap: Overlap) -> None:
        seen = Visibility.of(overlap.visible)
        keep = overlap.scores >= self.min_score
        hit = hits(overlap)[:, keep]
        empty = overlap.predicted[:, keep] == 0
        for g in np.flatnonzero(~is_crowd(overlap)):
            if seen.emerging[g]:
                found = emergence_hits(hit[..., g], seen.first[g], self.slack)
                clean = empty[: max(seen.first[g] - self.slack, 0)].all(0)
                self.emerging += 1
                self.emerging_hit += bool(found.any())
                self.emerging_strict += bool((found & clean).any())
            if seen.disappearing[g]:
                found = disappearance_hits(hit[..., g], empty, seen.last[g], self.slack)
                self.disappearing += 1
                self.disappearing_hit += bool(found.any())

    def figures(self) -> dict[str, float | int | None]:
        """Recalls 0..1 (None without an event) and all counts."""
        counts = {f.name: getattr(self, f.name) for f in fields(self)}
        return counts | {
            "emerging_recall": ratio(self.emerging_hit, self.emerging),
            "emerging_strict_recall": ratio(self.emerging_strict, self.emerging),
            "disappearing_recall": ratio(self.disappearing_hit, self.disappearing),
        }


def hits(overlap: Overlap) -> np.ndarray:
    """(T, P, G) bool, IoU of at least 0.5 in a frame, decided in whole numbers."""
    both = overlap.predicted[:, :, None] + overlap.actual[:, None, :]
    return (overlap.shared > 0) & (3 * overlap.shared >= both)  # i / (a + b - i) >= 1 / 2


def emergence_hits(hit: np.ndarray, first: int, slack: int) -> np.ndarray:
    """(P,) bool: which of the predictions hit the object when it emerges. `hit` is (T, P)."""
    return np.any(hit[first : first + slack + 1], axis=0)


def disappearance_hits(hit: np.ndarray, empty: np.ndarray, last: int, slack: int) -> np.ndarray:
    """(P,) bool: which hit it at the end and let go of it. `hit`, `empty` are (T, P)."""
    after = min(last + 1 + slack, len(hit) - 1)
    return np.logical_and(hit[max(last - slack, 0) : last + 1].any(0), empty[after])


def is_crowd(overlap: Overlap) -> np.ndarray:
    """(G,) bool."""
    return np.array([item.crowd for item in overlap.objects], bool)


def ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
