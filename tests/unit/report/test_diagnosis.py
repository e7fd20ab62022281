"""Findings object by object: worked by hand, and against the figures of the data set."""

from __future__ import annotations

import numpy as np
import pytest

from dvis_daq.metrics.overlap import overlaps
from dvis_daq.metrics.presence import Presence
from dvis_daq.metrics.reading import parse_ground_truth, parse_results
from dvis_daq.report.diagnosis import Finding, Switch, diagnose, unmatched
from tests.unit.metrics.scene import A_THIRD, A, B, annotations, results, rle


def found(
    objects: list[dict], tracks: list[dict], *, length: int, trace: dict | None = None
) -> tuple[list[Finding], list[int]]:
    truth = parse_ground_truth(annotations(*objects, length=length))
    predictions = parse_results(results(*tracks), truth)
    findings = diagnose(truth, predictions, trace)
    return findings, unmatched(findings, predictions)


def test_comes_late_stays_too_long() -> None:
    objects = [{"boxes": [None, A, A, A, None, None, None]}]
    (one,), rest = found(objects, [{"boxes": [None, None, A_THIRD, A, A, A, A]}], length=7)
    assert (one.prediction, one.runs, one.emerging, one.disappearing) == (0, ((1, 4),), True, True)
    assert one.missed and one.latency == 2 and one.verdict == "not_traced"
    assert one.left is False and one.ghosts == (4, 5, 6)
    assert one.frame_iou == pytest.approx((0, 0, 1 / 3, 1, 0, 0, 0))
    assert one.iou == pytest.approx((8 + 16) / (16 * 3 + 16 * 5 - 8 - 16))
    assert rest == []


def test_found_at_once_and_let_go() -> None:
    objects = [{"boxes": [None, A, A, A, None, None, None]}]
    (one,), _ = found(objects, [{"boxes": [None, A, A, A, None, None, None]}], length=7)
    assert (one.missed, one.latency, one.left, one.ghosts, one.verdict) == (
        False,
        0,
        True,
        (),
        None,
    )


def test_switch_after_a_gap_names_both_tracks() -> None:
    objects = [{"boxes": [A, A, A, None, B, B]}]
    tracks = [{"boxes": [A, A, A, None, None, None]}, {"boxes": [None] * 4 + [B, B], "score": 0.8}]
    (one,), rest = found(objects, tracks, length=6)
    assert one.prediction == 0 and one.reentries == 1
    assert one.switches == (Switch(frame=4, before=0, after=1),)
    assert rest == [1]


def test_without_a_track() -> None:
    objects = [{"boxes": [None, A, A, None]}, {"boxes": [B] * 4, "category_id": 2}]
    tracks = [{"boxes": [B] * 4, "category_id": 2}, {"boxes": [A] * 4, "score": 0.2}]
    (lost, other), rest = found(objects, tracks, length=4)
    assert (lost.prediction, lost.missed, lost.left, lost.frame_iou) == (None, True, False, ())
    assert other.prediction == 0 and not other.emerging and other.left is None
    assert rest == []  # the second track is too doubtful to be looked at


def test_crowd_and_never_visible_objects_have_no_finding() -> None:
    objects = [{"boxes": [A] * 3, "iscrowd": 1}, {"boxes": [None] * 3}, {"boxes": [B] * 3}]
    findings, _ = found(objects, [], length=3)
    assert [one.item.id for one in findings] == [3]


def test_a_trace_gives_the_reason() -> None:
    line = {
        "candidates": [],
        "newcomers": [{"segmentation": rle(A), "score": 0.1, "removed_by": "RULE"}],
    }
    trace = {(1, t): line for t in range(4)}
    (one,), _ = found([{"boxes": [None, A, A, A]}], [], length=4, trace=trace)
    assert (one.verdict, one.rule) == ("removed", "RULE")


@pytest.mark.parametrize("seed", range(6))
def test_sums_are_the_figures_of_presence(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def boxes() -> list:
        x, y = rng.integers(0, 8, 2).tolist()
        drift = rng.integers(0, 2, (12, 2)).tolist()
        there = rng.random(12) < 0.7
        return [
            (x + dx, y + dy, 5, 4) if t else None for (dx, dy), t in zip(drift, there, strict=True)
        ]

    objects = [{"boxes": boxes(), "category_id": 1 + n % 2} for n in range(5)]
    tracks = [
        {"boxes": o["boxes"][:9] + boxes()[9:], "category_id": o["category_id"], "score": 0.9}
        for o in objects[:4]
    ] + [{"boxes": boxes(), "category_id": 1, "score": s} for s in (0.5, 0.1)]
    truth = parse_ground_truth(annotations(*objects, length=12))
    predictions = parse_results(results(*tracks), truth)
    presence = Presence()
    for overlap in overlaps(truth, predictions):
        presence.add(overlap)
    findings = diagnose(truth, predictions)
    figures = presence.figures()
    assert figures["emerging"] == sum(one.emerging for one in findings)
    assert {m.object_id for m in presence.missed} == {o.item.id for o in findings if o.missed}
    assert figures["disappearing"] == sum(one.disappearing for one in findings)
    assert figures["disappearing_hit"] == sum(bool(one.left) for one in findings)
    assert figures["ghost_frames"] == sum(len(one.ghosts) for one in findings)
    assert figures["reentries"] == sum(one.reentries for one in findings)
    assert figures["id_switches"] == sum(len(one.switches) for one in findings)
    assert figures["assigned"] == sum(one.prediction is not None for one in findings)
    known = sorted(one.latency for one in findings if one.emerging and one.latency is not None)
    assert known == sorted(presence.latencies)
