"""VPQ against a plain reading of its definition: tubes of pixels, one window at a time."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from dvis_daq.metrics.panoptic_reading import read_panoptic_results, read_panoptic_truth
from dvis_daq.metrics.segment_counts import class_indices, count_segments
from dvis_daq.metrics.vpq import ClassSums, mean_over, window_sums_by_class
from tests.unit.metrics.panoptic_scene import (
    Segments,
    random_video,
    segments_of,
    write_results,
    write_truth,
)

IDS = (2, 5, 9)


def plain_sums(
    ours: np.ndarray, found: list[Segments], theirs: np.ndarray, wanted: list[Segments], k: int
) -> dict[int, list[float]]:
    """[IoU, TP, FP, FN] by category."""
    sums: dict[int, list[float]] = defaultdict(lambda: [0.0, 0, 0, 0])
    for start in range(len(ours) - k + 1):
        piece = slice(start, start + k)
        p, g = ours[piece], theirs[piece]
        listed_p, listed_g = _first(found[piece]), _first(wanted[piece])
        taken_p, taken_g = set(), set()
        for a, one in listed_p.items():
            for b, two in listed_g.items():
                inter = ((p == a) & (g == b)).sum()
                union = ((p == a) & (g != 0) | (g == b)).sum()
                same = one["category_id"] == two["category_id"] and not two["iscrowd"]
                if same and inter and inter / union > 0.5:
                    sums[two["category_id"]][0] += inter / union
                    sums[two["category_id"]][1] += 1
                    taken_p.add(a)
                    taken_g.add(b)
        crowd = {}
        for b, two in listed_g.items():
            if two["iscrowd"]:
                crowd[two["category_id"]] = b  # the last one
            elif b not in taken_g:
                sums[two["category_id"]][3] += 1
        for a, one in listed_p.items():
            excused = (p == a) & ((g == 0) | (g == crowd.get(one["category_id"], 0)))
            if a not in taken_p and excused.sum() / (p == a).sum() <= 0.5:
                sums[one["category_id"]][2] += 1
    return sums


def _first(frames: list[Segments]) -> dict[int, dict]:
    listed: dict[int, dict] = {}
    for frame in frames:
        for segment in frame:
            listed.setdefault(segment["id"], segment)
    return listed


@pytest.mark.parametrize("seed", range(8))
def test_equals_the_definition(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    theirs, wanted = random_video(rng)
    ours, found = (theirs.copy(), wanted) if seed % 2 else random_video(rng)
    if seed % 2:  # a noisy copy has many matches
        ours = np.roll(theirs, 1, axis=2)
        found = [
            segments_of(f, {s["id"]: s["category_id"] for s in w})
            for f, w in zip(ours, wanted, strict=True)
        ]
    truth = read_panoptic_truth(*write_truth(tmp_path, {"a": theirs}, {"a": wanted}))
    results = read_panoptic_results(*write_results(tmp_path, {"a": ours}, {"a": found}), truth)
    counts = count_segments("a", results["a"], truth.videos["a"], class_indices(IDS))
    for k in (1, 2, 3, 7):
        sums = window_sums_by_class(counts, k, 3)
        plain = plain_sums(ours, found, theirs, wanted, k)
        rows = zip(sums.iou, sums.tp, sums.fp, sums.fn, strict=True)
        for number, row in zip(IDS, rows, strict=True):
            assert list(row) == pytest.approx(plain[number]), (k, number)
        assert sums.tp.sum() + sums.fp.sum() + sums.fn.sum() > 0
    assert window_sums_by_class(counts, 8, 3).fn.sum() == 0  # shorter than the window


def test_quality() -> None:
    sums = ClassSums(
        np.array([0.9, 0, 0]), np.array([1, 0, 0]), np.array([2, 0, 0]), np.array([0, 3, 0])
    )
    mean = sums.mean(np.ones(3, bool))
    assert mean["n"] == 2  # the third has no tube and does not count
    assert mean["PQ"] == pytest.approx((0.9 / 2 + 0) / 2)
    assert mean["SQ"] == pytest.approx(0.45)
    assert mean["RQ"] == pytest.approx(0.25)
    assert sums.mean(np.array([False, False, True]))["PQ"] is None


def test_mean_over_windows() -> None:
    assert mean_over([0.5, 1.0]) == 0.75
    assert mean_over([0.5, None]) is None
