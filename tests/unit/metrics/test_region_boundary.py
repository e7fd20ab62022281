import sys
from types import ModuleType

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from dvis_daq.metrics.region_boundary import (
    contour_accuracy,
    figures,
    object_scores,
    outline,
    region_similarity,
)

EMPTY = np.zeros((40, 50), bool)


def square(top: int, left: int, side: int = 10) -> np.ndarray:
    mask = EMPTY.copy()
    mask[top : top + side, left : left + side] = True
    return mask


def test_perfect_empty_and_apart() -> None:
    for measure in (region_similarity, contour_accuracy):
        assert measure(square(3, 4), square(3, 4)) == 1
        assert measure(EMPTY, EMPTY) == 1
        assert measure(EMPTY, square(3, 4)) == measure(square(3, 4), EMPTY) == 0
        assert measure(square(0, 0), square(20, 30)) == 0


def test_a_pixel_off_is_near() -> None:
    assert region_similarity(square(3, 4), square(3, 5)) == pytest.approx(9 / 11)
    assert contour_accuracy(square(3, 4), square(3, 5)) == 1  # 0.008 of the diagonal is one pixel
    assert contour_accuracy(square(3, 4), square(5, 6)) < 1


def test_outline_at_the_border() -> None:
    edge = outline(np.ones((4, 5), bool))
    assert not edge.any()  # nothing differs from it


def random_labels(rng: np.random.Generator, size: tuple[int, int], frames: int) -> np.ndarray:
    labels = np.zeros((frames, *size), np.uint8)
    for number in (1, 2, 3):
        center, angle = rng.uniform(0.2, 0.8, 2) * size[::-1], np.linspace(0, 2 * np.pi, 20)
        reach = rng.uniform(6, 25) * (1 + 0.2 * rng.standard_normal(20))
        for frame in labels:
            if rng.random() < 0.85:
                center = center + rng.normal(0, 2, 2)
                points = center + (reach * [np.cos(angle), np.sin(angle)]).T
                cv2.fillPoly(frame, [points.astype(np.int32)], number)
    return labels


@pytest.mark.parametrize("size", [(60, 90), (211, 300)])
def test_same_as_trackeval(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = pytest.importorskip("trackeval.metrics", reason="TrackEval is not installed")
    if "skimage" not in sys.modules:  # of which it takes the shape of a disk alone
        morphology = ModuleType("skimage.morphology")
        morphology.disk = _disk
        monkeypatch.setitem(sys.modules, "skimage", ModuleType("skimage"))
        monkeypatch.setitem(sys.modules, "skimage.morphology", morphology)
    rng = np.random.default_rng(size[0])
    theirs = random_labels(rng, size, 6)
    ours = np.roll(theirs, (1, 2), (1, 2))
    ours[3][ours[3] == 2] = 0
    wanted = metrics.JAndF().eval_sequence(
        {
            "num_gt_ids": 3,
            "num_tracker_ids": 3,
            "num_timesteps": 6,
            "gt_ids": [np.arange(3)] * 6,
            "tracker_ids": [np.arange(3)] * 6,
            "gt_dets": [_encoded(frame) for frame in theirs],
            "tracker_dets": [_encoded(frame) for frame in ours],
            "masks_void": [_encoded(np.zeros(size, np.uint8))[0]] * 6,
        }
    )
    found = figures([object_scores(zip(ours, theirs, strict=True), [1, 2, 3])], all_frames=True)
    for letter in "JF":
        assert found[letter] == pytest.approx(wanted[f"{letter}-Mean"], abs=1e-12)
        assert found[f"{letter}_recall"] == pytest.approx(wanted[f"{letter}-Recall"], abs=1e-12)
        assert found[f"{letter}_decay"] == pytest.approx(wanted[f"{letter}-Decay"], abs=1e-12)
    assert found["J&F"] == pytest.approx(wanted["J&F"], abs=1e-12)
    assert 0.1 < found["J&F"] < 0.95


def _encoded(frame: np.ndarray) -> list[dict]:
    return [coco.encode(np.asfortranarray(frame == n, np.uint8)) for n in (1, 2, 3)]


def _disk(radius: int, dtype: type = np.uint8) -> np.ndarray:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return (x * x + y * y <= radius * radius).astype(dtype)


def test_first_and_last_frame_do_not_count() -> None:
    theirs = np.repeat(square(3, 4)[None].astype(np.uint8), 5, 0)
    ours = theirs.copy()
    ours[[0, 4]] = 0
    scores = object_scores(zip(ours, theirs, strict=True), [1])
    assert figures([scores])["J&F"] == 1
    assert figures([scores], all_frames=True)["J"] == pytest.approx(3 / 5)


def test_objects_weigh_the_same_whatever_their_video() -> None:
    theirs = np.repeat(square(3, 4)[None].astype(np.uint8), 5, 0)
    good = object_scores(zip(theirs, theirs, strict=True), [1])
    bad = object_scores(zip(0 * theirs, theirs + 2 * square(20, 20), strict=True), [1, 2])
    assert figures([good, bad])["J"] == pytest.approx(1 / 3)
    assert figures([])["J&F"] is None
