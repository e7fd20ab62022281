"""Run-length encoded masks as arrays: counting many at once, reading one at a few pixels.

COCO's compressed counts are numbers of base 32, least digit first, one character a digit
('0' + digit, + 32 if more follow; a last digit of 16 and above makes it negative). From the
fourth on, a number is the difference to the one before the previous. The runs go down the
columns of the mask, background first.
"""

from __future__ import annotations

import numpy as np

INVALID = -1


def pixel_counts(runs: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts the pixels that N masks describe, and those that they set.

    pycocotools trusts its input: a mask whose runs do not fill the frame decodes to whatever
    lies in memory. So every mask is counted when a file is read.

    Args:
        runs: (B,) uint8, compressed counts one after the other.
        offsets: (N + 1,) where each begins and ends in `runs`.

    Returns:
        (N,) int64 pixels of the frame, `INVALID` where the characters make no sense, and
        (N,) int64 pixels set; both 0 for a mask without runs.
    """
    totals = np.zeros(len(offsets) - 1, dtype=np.int64)
    areas = np.zeros_like(totals)
    filled = np.flatnonzero(np.diff(offsets))
    if len(filled) == 0:
        return totals, areas
    digits = runs.astype(np.int64) - ord("0")
    wrong = (digits < 0) | (digits > 63)
    is_last = (digits & 32) == 0
    final = offsets[filled + 1] - 1  # last character of each mask
    wrong[final] |= ~is_last[final]
    is_last[final] = True

    numbers, number_of = _numbers(digits, is_last)
    first = number_of[offsets[filled]]  # the first number of each mask
    count = np.diff(np.append(first, len(numbers)))
    place = np.arange(len(numbers)) - np.repeat(first, count)
    # a number is added to each later one of its parity, but the very first stands alone
    times = np.where(place == 0, 1, (np.repeat(count, count) - 1 - place) // 2 + 1)
    totals[filled] = np.add.reduceat(numbers * times, first)
    areas[filled] = np.add.reduceat(numbers * times * (place % 2), first)
    totals[filled[np.logical_or.reduceat(wrong, offsets[filled])]] = INVALID
    return totals, areas


def sample_mask(runs: np.ndarray, height: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Reads one mask at the pixels of a grid, unpacking only the columns that it has pixels in.

    Args:
        runs: (B,) uint8, compressed counts of a mask with at least one pixel.
        height: of the mask, pixels.
        rows: (h,) int64 rows of the mask.
        columns: (w,) int64 columns of the mask, ascending or descending.

    Returns:
        (h, w) bool.
    """
    edges = np.append(0, np.cumsum(run_lengths(runs)))
    end = edges[(len(edges) - 1) // 2 * 2]  # of the last run that is set
    first, last = edges[1] // height, (end - 1) // height
    out = np.zeros((len(rows), len(columns)), dtype=bool)
    inside = np.flatnonzero((columns >= first) & (columns <= last))
    if len(inside):
        lengths = np.diff(edges.clip(first * height, (last + 1) * height))
        is_set = np.arange(len(lengths)) % 2 == 1
        strip = np.repeat(is_set, lengths).reshape(-1, height)  # (columns, height)
        inside = slice(inside[0], inside[-1] + 1)
        out[:, inside] = strip[columns[inside] - first][:, rows].T
    return out


def run_lengths(runs: np.ndarray) -> np.ndarray:
    """(R,) int64 lengths of the runs of one mask.

    Args:
        runs: (B,) uint8, its compressed counts.
    """
    digits = runs.astype(np.int64) - ord("0")
    lengths, _ = _numbers(digits, (digits & 32) == 0)
    lengths[1::2] = np.cumsum(lengths[1::2])
    lengths[2::2] = np.cumsum(lengths[2::2])
    return lengths


def _numbers(digits: np.ndarray, is_last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joins digits; returns the numbers, and for each digit the index of its number."""
    last = np.flatnonzero(is_last)
    first = np.append(0, last[:-1] + 1)
    number_of = np.cumsum(is_last) - is_last
    shift = 5 * np.minimum(np.arange(len(digits)) - first[number_of], 11)
    numbers = np.add.reduceat((digits & 31) << shift, first)
    negative = (digits[last] & 16) != 0
    return numbers - np.where(negative, 32 << shift[last], 0), number_of
