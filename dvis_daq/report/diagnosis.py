"""Object by object: did its track come when it came, and go when it went?

The sums of these findings over a data set are the figures of `metrics.presence`, whose terms
(assigned track, hit, ghost, switch) hold here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dvis_daq.metrics.events import Visibility, disappearance_hits, hits, is_crowd
from dvis_daq.metrics.explain import Trace, explain
from dvis_daq.metrics.overlap import Overlap, overlaps
from dvis_daq.metrics.presence import (
    MIN_SCORE,
    SLACK,
    Presence,
    assign,
    reentries,
    visible_runs,
)
from dvis_daq.metrics.tracks import GroundTruth, ObjectTrack, PredictedTrack

NOT_TRACED = "not_traced"  # a missed emergence without a trace to say why


@dataclass(frozen=True)
class Switch:
    """Another track took over after a gap; `before` and `after` are indices of predictions."""

    frame: int
    before: int
    after: int


@dataclass(frozen=True)
class Finding:
    """What became of one object in T frames.

    Attributes:
        item: the object.
        runs: (first frame, first frame after) of each run of frames in which it is visible.
        prediction: index of its assigned track; None if it has none.
        iou: with that track over the video, 0..1.
        frame_iou: T values 0..1, in each frame; empty without a track.
        ghosts: frames in which it is absent and its track has a mask.
        emerging, disappearing: whether it comes and goes inside the video.
        missed: its emergence was not hit.
        verdict, rule: why, see `metrics.explain`; None unless missed.
        latency: frames from the first visible one to the first hit; None without a hit.
        left: its track ended with it; None unless it disappears.
        reentries: gaps with a hit before and after.
        switches: those of them where another track took over.
    """

    item: ObjectTrack
    runs: tuple[tuple[int, int], ...]
    prediction: int | None = None
    iou: float = 0.0
    frame_iou: tuple[float, ...] = ()
    ghosts: tuple[int, ...] = ()
    emerging: bool = False
    disappearing: bool = False
    missed: bool = False
    verdict: str | None = None
    rule: str | None = None
    latency: int | None = None
    left: bool | None = None
    reentries: int = 0
    switches: tuple[Switch, ...] = field(default=())


def diagnose(
    truth: GroundTruth,
    predictions: Sequence[PredictedTrack],
    trace: Trace | None = None,
) -> list[Finding]:
    """A finding for each visible, non-crowd object, in the order of the ground truth.

    Args:
        truth: of one video or of several.
        predictions: their tracks, of any score.
        trace: written in the run that made the predictions, to tell why emergences were missed.

    Raises:
        ValueError: the trace lacks a frame in question.
    """
    found = [one for pair in overlaps(truth, predictions) for one in _of_pair(pair, truth, trace)]
    place = {item.id: n for n, item in enumerate(truth.tracks)}
    return sorted(found, key=lambda one: place[one.item.id])


def unmatched(findings: Sequence[Finding], predictions: Sequence[PredictedTrack]) -> list[int]:
    """Indices of the predictions with a score of at least 0.3 that no object was assigned."""
    taken = {one.prediction for one in findings}
    return [p.index for p in predictions if p.score >= MIN_SCORE and p.index not in taken]


def _of_pair(overlap: Overlap, truth: GroundTruth, trace: Trace | None) -> Iterator[Finding]:
    """The findings of one video and class."""
    reasons = _reasons(overlap, truth, trace)
    seen, owners, hit = Visibility.of(overlap.visible), assign(overlap), hits(overlap)
    gaps = list(reentries(overlap))
    for g in np.flatnonzero(~is_crowd(overlap) & (seen.frames > 0)).tolist():
        item = overlap.objects[g]
        runs = tuple((int(r[0]), int(r[-1]) + 1) for r in visible_runs(overlap.visible[:, g]))
        facts: dict[str, Any] = {
            "emerging": bool(seen.emerging[g]),
            "disappearing": bool(seen.disappearing[g]),
            "missed": item.id in reasons,
            "reentries": sum(gap.object == g for gap in gaps),
            "switches": tuple(
                Switch(gap.frame, _index(overlap, gap.before), _index(overlap, gap.after))
                for gap in gaps
                if gap.object == g and gap.switched
            ),
            **reasons.get(item.id, {}),
        }
        if seen.disappearing[g]:
            facts["left"] = False
        if g in owners:
            facts |= _with_track(overlap, g, owners[g], hit[:, owners[g], g], seen)
        yield Finding(item, runs, **facts)


def _with_track(
    overlap: Overlap, g: int, p: int, hit: np.ndarray, seen: Visibility
) -> dict[str, Any]:
    """What the assigned track adds; `hit` is (T,)."""
    shown = overlap.predicted[:, p] > 0
    facts: dict[str, Any] = {
        "prediction": _index(overlap, p),
        "iou": float(overlap.iou()[p, g]),
        "frame_iou": tuple(overlap.frame_iou()[:, p, g].tolist()),
        "ghosts": tuple(np.flatnonzero(shown & ~overlap.visible[:, g]).tolist()),
        "latency": int(hit.argmax() - seen.first[g]) if hit.any() else None,
    }
    if seen.disappearing[g]:
        ended = disappearance_hits(hit[:, None], ~shown[:, None], int(seen.last[g]), SLACK)
        facts["left"] = bool(ended.any())
    return facts


def _reasons(
    overlap: Overlap, truth: GroundTruth, trace: Trace | None
) -> dict[int, dict[str, str | None]]:
    """Verdict and rule of each missed emergence, by object id."""
    presence = Presence()
    presence.add(overlap)
    if trace is None:
        return {m.object_id: {"verdict": NOT_TRACED, "rule": None} for m in presence.missed}
    told = explain(presence.missed, truth, trace)
    return {row["object_id"]: {key: row[key] for key in ("verdict", "rule")} for row in told}


def _index(overlap: Overlap, row: int) -> int:
    return overlap.predictions[row].index
