import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from dvis_daq.metrics.masks import areas, covered_pixels, to_counts

SIZE = (6, 9)


def encoded(mask: np.ndarray) -> str:
    return coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode()


def decoded(counts: str | bytes) -> np.ndarray:
    return coco.decode({"size": SIZE, "counts": counts})


@pytest.fixture
def mask() -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    mask[1:4, 2:7] = 1
    return mask


def test_all_forms_give_the_same_mask(mask: np.ndarray) -> None:
    runs = [13, 3, 3, 3, 3, 3, 3, 3, 3, 3, 14]
    forms = [
        {"size": [6, 9], "counts": encoded(mask)},
        {"size": [6, 9], "counts": encoded(mask).encode()},
        {"size": [6, 9], "counts": runs},
        [[2, 1, 7, 1, 7, 4, 2, 4]],
        [[2, 1, 4, 1, 4, 4, 2, 4], [4, 1, 7, 1, 7, 4, 4, 4]],
    ]
    for form in forms:
        np.testing.assert_array_equal(decoded(to_counts(form, SIZE)), mask)


@pytest.mark.parametrize("nothing", [None, []])
def test_nothing_is_none(nothing: object) -> None:
    assert to_counts(nothing, SIZE) is None


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ({"size": [9, 6], "counts": "abc"}, r"size \(9, 6\), the video \(6, 9\)"),
        ({"size": [6, 9], "counts": [10, 3]}, "covers 13 pixels, the frame has 54"),
        ({"size": [6, 9], "counts": [60, -6]}, "list of runs"),
        ({"size": [6, 9]}, "needs 'size'"),
        ({"counts": "abc"}, "needs 'size'"),
        ([[1, 2, 3, 4]], "at least 6 coordinates"),
        ([[1, 2, 3, 4, 5, 6, 7]], "even number"),
        ("abc", "null, RLE or polygons"),
    ],
)
def test_bad_segmentations(segmentation: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_counts(segmentation, SIZE)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.02, 0.5, 0.98, 1.0]))
def test_covered_pixels_of_any_mask(seed: int, density: float) -> None:
    random = np.random.default_rng(seed).random((40, 70)) < density
    counts = encoded(random)
    assert covered_pixels([counts, counts.encode()], (40, 70)).tolist() == [2800, 2800]
    assert areas([counts], (40, 70))[0] == random.sum()


def test_covered_pixels_finds_a_mask_of_another_size(mask: np.ndarray) -> None:
    assert covered_pixels([encoded(mask)], (6, 12)).tolist() == [54]
    assert covered_pixels([encoded(mask)[:-1], "", "~~~"], (6, 9))[0] != 54


def test_more_masks_than_pycocotools_can_count(mask: np.ndarray) -> None:
    assert areas([encoded(mask)] * 700, SIZE).tolist() == [15] * 700
    assert areas([], SIZE).shape == (0,)
