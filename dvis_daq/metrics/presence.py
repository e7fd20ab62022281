"""Does the track of an object come when the object comes, and go when it goes?

These figures follow *assigned* tracks: in each video and class, predictions with a score of
at least 0.3 are paired with the visible, non-crowd objects so that the sum of their IoUs over
the video is highest (Hungarian), and pairs with an IoU of at most 0.1 are dissolved. A track
hits its object in a frame if their masks have an IoU of at least 0.5 there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import mean, median

import numpy as np

from dvis_daq.metrics.events import (
    Visibility,
    disappearance_hits,
    emergence_hits,
    hits,
    is_crowd,
    ratio,
)
from dvis_daq.metrics.overlap import Overlap
from dvis_daq.metrics.tracks import ObjectTrack

_PHASES = ("before", "after", "gap")
MIN_SCORE = 0.3  # of a prediction that is looked at
MIN_IOU = 0.1  # over the video, of an assigned pair; it must be above
SLACK = 1  # frames: an event may be seen one frame late (coming) or early (going)


def assign(overlap: Overlap) -> dict[int, int]:
    """Pairs objects with predictions, {g: p}, rows of `overlap`."""
    from scipy.optimize import linear_sum_assignment  # slow to import, and only needed here

    rows = np.flatnonzero(overlap.scores >= MIN_SCORE)
    columns = np.flatnonzero(~is_crowd(overlap) & overlap.visible.any(0))
    iou = overlap.iou()[np.ix_(rows, columns)]
    pairs = zip(*linear_sum_assignment(iou, maximize=True), strict=True)
    return {int(columns[g]): int(rows[p]) for p, g in pairs if iou[p, g] > MIN_IOU}


@dataclass(frozen=True)
class MissedEmergence:
    """An object that emerges and is not hit by its track in its first two visible frames."""

    video_id: int
    object_id: int
    category_id: int
    frame: int  # the first visible one


@dataclass(frozen=True)
class Reentry:
    """A gap of an object that was hit before and after it.

    Attributes:
        object: row of the object.
        frame: of the first hit after the gap.
        before, after: rows of the predictions with the two hits.
    """

    object: int
    frame: int
    before: int
    after: int

    @property
    def switched(self) -> bool:
        return self.before != self.after


def reentries(overlap: Overlap) -> Iterator[Reentry]:
    """The gaps of non-crowd objects with a hit before and after.

    Before: the last frame with a hit in the run of visible frames that ends at the gap; after:
    the first frame with a hit in the run that follows; in each the prediction (score >= 0.3)
    with the highest IoU.
    """
    rows = np.flatnonzero(overlap.scores >= MIN_SCORE)
    iou = np.where(hits(overlap), overlap.frame_iou(), 0.0)[:, rows]
    for g in np.flatnonzero(~is_crowd(overlap) & overlap.visible.any(0)).tolist():
        runs = visible_runs(overlap.visible[:, g])
        for before, after in zip(runs, runs[1:], strict=False):
            left, right = _hitter(iou[..., g], before[::-1]), _hitter(iou[..., g], after)
            if left is not None and right is not None:
                frame, row = right
                yield Reentry(g, frame, before=int(rows[left[1]]), after=int(rows[row]))


@dataclass
class Presence:
    """Sums over videos and classes; `figures` gives the rates.

    Attributes:
        emerging, emerging_hit: emergences; those hit by the assigned track in the first
            visible frame or the next.
        latencies: frames from the first visible frame to the first hit, of each emerging object
            that its track hits at all.
        missed: the emergences that were not hit.
        disappearing, disappearing_hit: disappearances; those whose track hits the object in the
            last visible frame or the one before and is empty in frame min(last + 2, T - 1).
        absent, ghosts: frames in which an assigned object is absent, before it emerges, after
            it has gone and in gaps; those in which its track has a mask nevertheless.
        reentries, switches: see `reentries`; those where another prediction took over.
    """

    emerging: int = 0
    emerging_hit: int = 0
    latencies: list[int] = field(default_factory=list)
    missed: list[MissedEmergence] = field(default_factory=list)
    disappearing: int = 0
    disappearing_hit: int = 0
    absent: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_PHASES, 0))
    ghosts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_PHASES, 0))
    objects: int = 0
    assigned: int = 0
    reentries: int = 0
    switches: int = 0

    def add(self, overlap: Overlap) -> None:
        """Adds one video and class."""
        seen = Visibility.of(overlap.visible)
        hit = hits(overlap)
        owners = assign(overlap)
        counted = np.flatnonzero(~is_crowd(overlap) & (seen.frames > 0))
        self.objects += len(counted)
        self.assigned += len(owners)
        for g in counted.tolist():
            rows = [owners[g]] if g in owners else []  # the track of the object, if it has one
            own, empty = hit[:, rows, g], overlap.predicted[:, rows] == 0  # (T, 1) or (T, 0)
            if seen.emerging[g]:
                self._emergence(overlap.objects[g], own, int(seen.first[g]))
            if seen.disappearing[g]:
                gone = disappearance_hits(own, empty, int(seen.last[g]), SLACK)
                self.disappearing += 1
                self.disappearing_hit += bool(gone.any())
            if rows:
                self._ghosts(~empty[:, 0], overlap.visible[:, g])
        for reentry in reentries(overlap):
            self.reentries += 1
            self.switches += reentry.switched

    def _emergence(self, item: ObjectTrack, own: np.ndarray, first: int) -> None:
        self.emerging += 1
        if emergence_hits(own, first, SLACK).any():
            self.emerging_hit += 1
        else:
            self.missed.append(MissedEmergence(item.video_id, item.id, item.category_id, first))
        found = np.flatnonzero(own.any(1))
        if len(found):
            self.latencies.append(int(found[0] - first))

    def _ghosts(self, shown: np.ndarray, visible: np.ndarray) -> None:
        frames = np.flatnonzero(visible)
        for t in np.flatnonzero(~visible):
            phase = "before" if t < frames[0] else "after" if t > frames[-1] else "gap"
            self.absent[phase] += 1
            self.ghosts[phase] += bool(shown[t])

    def figures(self) -> dict[str, float | int | None]:
        """Rates 0..1, latencies in frames (None where nothing is defined), and all counts."""
        ghosts, absent = sum(self.ghosts.values()), sum(self.absent.values())
        by_phase: dict[str, float | int | None] = {}
        for phase in _PHASES:
            by_phase[f"ghost_rate_{phase}"] = ratio(self.ghosts[phase], self.absent[phase])
            by_phase[f"ghost_frames_{phase}"] = self.ghosts[phase]
            by_phase[f"absent_frames_{phase}"] = self.absent[phase]
        return {
            "emergence_recall": ratio(self.emerging_hit, self.emerging),
            "emerging": self.emerging,
            "emerging_hit": self.emerging_hit,
            "latency_mean": mean(self.latencies) if self.latencies else None,
            "latency_median": median(self.latencies) if self.latencies else None,
            "latency_known": len(self.latencies),
            "disappearance_recall": ratio(self.disappearing_hit, self.disappearing),
            "disappearing": self.disappearing,
            "disappearing_hit": self.disappearing_hit,
            "ghost_rate": ratio(ghosts, absent),
            "ghost_frames": ghosts,
            "absent_frames": absent,
            **by_phase,
            "id_switch_rate": ratio(self.switches, self.reentries),
            "id_switches": self.switches,
            "reentries": self.reentries,
            "objects": self.objects,
            "assigned": self.assigned,
        }


def visible_runs(visible: np.ndarray) -> list[np.ndarray]:
    """Runs of consecutive visible frames, each an array of frame indices."""
    frames = np.flatnonzero(visible)
    return np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1)


def _hitter(iou: np.ndarray, frames: np.ndarray) -> tuple[int, int] | None:
    """(frame, prediction with the highest IoU) in the first of `frames` that has a hit.

    Args:
        iou: (T, P), 0 where there is no hit.
        frames: in the order in which to look.
    """
    found = frames[iou[frames].any(1)]
    return (int(found[0]), int(iou[found[0]].argmax())) if len(found) else None
