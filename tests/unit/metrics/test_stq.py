"""STQ against a plain reading of its definition."""

from pathlib import Path

import numpy as np
import pytest

from dvis_daq.metrics import stq
from dvis_daq.metrics.panoptic_reading import read_panoptic_results, read_panoptic_truth
from dvis_daq.metrics.segment_counts import SegmentCounts, class_indices, count_segments
from tests.unit.metrics.panoptic_scene import (
    Segments,
    random_video,
    segments_of,
    write_results,
    write_truth,
)

IDS, THINGS = (2, 5, 9), np.array([False, True, True])
Video = tuple[np.ndarray, list[Segments]]


def counted(folder: Path, found: Video, wanted: Video) -> SegmentCounts:
    truth = read_panoptic_truth(*write_truth(folder, {"a": wanted[0]}, {"a": wanted[1]}))
    files = write_results(folder, {"a": found[0]}, {"a": found[1]})
    results = read_panoptic_results(*files, truth)
    return count_segments("a", results["a"], truth.videos["a"], class_indices(IDS))


def class_maps(ids: np.ndarray, listed: list[Segments]) -> np.ndarray:
    labels = np.full(ids.shape, -1)
    for frame, out, segments in zip(ids, labels, listed, strict=True):
        for segment in segments:
            out[frame == segment["id"]] = segment["category_id"]
    return labels


def plain(found: Video, wanted: Video) -> tuple[float, float]:
    """AQ and SQ."""
    ours, theirs = class_maps(*found), class_maps(*wanted)
    ious = []
    for label in (*IDS, -1):
        p, g = (ours == label) & (theirs >= 0), (theirs == label) & (theirs >= 0)
        if (p | g).any():
            ious.append((p & g).sum() / (p | g).sum())
    tracks_p = [(found[0] == n) & (ours == c) for n in np.unique(found[0]) for c in (5, 9)]
    tracks_g = [(wanted[0] == n) & (theirs == c) for n in np.unique(wanted[0]) for c in (5, 9)]
    terms = []
    for g in tracks_g:
        if g.any():
            shared = [(p & g).sum() ** 2 / (p | g).sum() for p in tracks_p if p.any()]
            terms.append(sum(shared) / g.sum())
    return float(np.mean(terms)), float(np.mean(ious))


@pytest.mark.parametrize("seed", range(6))
def test_equals_the_definition(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    found, wanted = random_video(rng), random_video(rng)
    figures = stq.figures([stq.video_tracks(counted(tmp_path, found, wanted), THINGS)])
    aq, sq = plain(found, wanted)
    assert figures["AQ"] == pytest.approx(aq)
    assert figures["SQ"] == pytest.approx(sq)
    assert figures["STQ"] == pytest.approx((aq * sq) ** 0.5)


def test_released_numbering_loses_the_first_object(tmp_path: Path) -> None:
    ids = np.zeros((2, 8, 8), np.int64)
    ids[:, :4, :4], ids[:, 4:, 4:] = 1, 2
    listed = [segments_of(frame, {1: 5, 2: 9}) for frame in ids]
    counts = counted(tmp_path, (ids, listed), (ids, listed))
    sound, released = (stq.video_tracks(counts, THINGS, as_released=flag) for flag in (False, True))
    assert (sound.tracks, released.tracks) == (2, 1)
    assert stq.figures([sound])["STQ"] == stq.figures([released])["STQ"] == 1


def test_no_thing_is_undefined_and_not_zero(tmp_path: Path) -> None:
    ids = np.full((1, 4, 4), 3)
    listed = [segments_of(ids[0], {3: 2})]
    counts = counted(tmp_path, (0 * ids, [[]]), (ids, listed))
    figures = stq.figures([stq.video_tracks(counts, THINGS)])
    assert figures == {"STQ": None, "AQ": None, "SQ": 0}
    assert stq.figures([]) == dict.fromkeys(("STQ", "AQ", "SQ"))
