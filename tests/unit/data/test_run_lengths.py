"""Counting pixels of encoded masks equals decoding them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as rle

from dvis_daq.data.run_lengths import INVALID, pixel_counts, run_lengths, sample_mask


def packed(pieces):
    offsets = np.cumsum([0] + [len(piece) for piece in pieces])
    return np.frombuffer(b"".join(pieces), dtype=np.uint8), offsets


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 900))
def test_random_masks(seed, height, width):
    rng = np.random.default_rng(seed)
    masks = [(rng.random((height, width)) < p).astype(np.uint8) for p in (0, 0.01, 0.3, 0.9, 1)]
    codes = [rle.encode(np.asfortranarray(m))["counts"] for m in masks]
    totals, areas = pixel_counts(*packed([codes[0], b"", *codes[1:], b""]))
    assert totals.tolist() == [height * width, 0] + [height * width] * 4 + [0]
    assert np.delete(areas, [1, 6]).tolist() == [int(m.sum()) for m in masks]


def test_long_runs():
    mask = np.zeros((3000, 4000), dtype=np.uint8)
    mask[2000:, 3900:] = 1
    totals, areas = pixel_counts(*packed([rle.encode(np.asfortranarray(mask))["counts"]]))
    assert (totals[0], areas[0]) == (mask.size, mask.sum())


def test_nonsense_is_marked_and_does_not_spread():
    good = rle.encode(np.asfortranarray(np.eye(5, dtype=np.uint8)))["counts"]
    totals, areas = pixel_counts(*packed([b"\x01\x02", good, b"P", good]))
    assert totals.tolist() == [INVALID, 25, INVALID, 25]
    assert areas[[1, 3]].tolist() == [5, 5]


def test_nothing():
    totals, areas = pixel_counts(np.zeros(0, np.uint8), np.zeros(1, np.int64))
    assert len(totals) == len(areas) == 0


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 60))
def test_sampled_masks_are_the_decoded_ones(seed, height, width):
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), dtype=np.uint8)
    top, left = rng.integers(height), rng.integers(width)
    box = mask[top : top + 12, left : left + 12]
    box[:] = rng.random(box.shape) < rng.choice([0.2, 0.8, 1])
    mask[top, left] = 1
    code = np.frombuffer(rle.encode(np.asfortranarray(mask))["counts"], dtype=np.uint8)
    rows = np.sort(rng.integers(0, height, rng.integers(1, 50)))
    columns = np.sort(rng.integers(0, width, rng.integers(1, 50)))
    for order in (columns, columns[::-1]):
        sampled = sample_mask(code, height, rows, order)
        np.testing.assert_array_equal(sampled, mask[np.ix_(rows, order)].astype(bool))


def test_run_lengths():
    counts = [3, 40, 500, 60000, 7, 65, 1, 1, 9]
    size = (1, sum(counts))
    code = rle.frPyObjects({"size": list(size), "counts": counts}, *size)["counts"]
    assert run_lengths(np.frombuffer(code, dtype=np.uint8)).tolist() == counts
