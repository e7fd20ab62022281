"""Pictures within a budget, masks that stay visible."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from dvis_daq.report.pictures import encode_frames, fitted, shrink_masks


def noise(count: int, height: int = 480, width: int = 640) -> list[np.ndarray]:
    """Frames that no coder can make small."""
    return list(np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8))


@pytest.mark.parametrize("budget", [6_000_000, 1_500_000, 300_000, 40_000, 9_000])
def test_budget_is_kept_and_used(budget: int) -> None:
    found = encode_frames(noise(8), budget=budget)
    assert len(found.jpegs) == 8 and found.jpegs[0] is not None
    assert budget / 5 < found.bytes <= budget
    decoded = cv2.imdecode(np.frombuffer(found.jpegs[0], np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape == (found.height, found.width, 3)


def test_a_small_budget_keeps_fewer_frames_never_none() -> None:
    found = encode_frames(noise(8), budget=20_000)
    kept = [jpeg is not None for jpeg in found.jpegs]
    assert kept[0] and 1 <= sum(kept) < 8
    with pytest.raises(ValueError, match="allow a larger report"):
        encode_frames(noise(2), budget=500)


def test_skipped_frames() -> None:
    first, second = noise(2, 24, 32)
    found = encode_frames([None, first, None, second], budget=100_000)
    assert [jpeg is not None for jpeg in found.jpegs] == [False, True, False, True]
    assert (found.height, found.width) == (24, 32)  # never enlarged
    with pytest.raises(ValueError, match="no frame that can be read"):
        encode_frames([None, None], budget=1000)


def test_colours_survive() -> None:
    frame = np.zeros((16, 16, 3), np.uint8)
    frame[..., 0] = 200  # red
    (jpeg,) = encode_frames([frame], budget=100_000).jpegs
    blue, green, red = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[8, 8].tolist()
    assert red > 180 and green < 30 and blue < 30


def encoded(mask: np.ndarray) -> dict:
    found = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"size": found["size"], "counts": found["counts"].decode()}


def test_masks_shrink_to_scale() -> None:
    mask = np.zeros((600, 1200), bool)
    mask[100:400, 300:900] = True
    (counts, nothing) = shrink_masks([encoded(mask), None], side=300)
    small = coco_mask.decode({"size": [150, 300], "counts": counts})
    assert nothing is None and small[25:100, 75:225].all() and small.sum() == 75 * 150


def test_a_speck_stays_and_a_small_mask_is_as_it_was() -> None:
    speck = np.zeros((1000, 1000), bool)
    speck[501, 503] = True
    (counts,) = shrink_masks([encoded(speck)], side=100)
    assert coco_mask.decode({"size": [100, 100], "counts": counts}).sum() == 1
    small = encoded(speck[400:600, 400:600])
    assert shrink_masks([small]) == [small["counts"]]


def test_fitted() -> None:
    assert fitted(1080, 1920, 640) == (360, 640)
    assert fitted(96, 128, 640) == (96, 128)
    assert fitted(1, 5000, 640) == (1, 640)
