"""Second tracks of one object: what a model would score if it did not report them.

A diagnosis, no step of any method: it tells whether AP is lost to objects that are reported
twice, or to objects that are not found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from pycocotools import mask as coco_mask

RLE = dict[str, Any]


class _Track(NamedTuple):
    runs: Sequence[RLE | None]  # of each frame
    area: float  # pixels of all frames


def without_doubles(
    results: Iterable[Mapping[str, Any]], overlap: float
) -> list[Mapping[str, Any]]:
    """Greedy suppression, the best score first, within a video and class.

    Args:
        results: entries of a results.json of the YouTube-VIS format.
        overlap: 0..1, share of the pixels of the smaller of two tracks, over the whole video,
            above which the one with the lower score is left out.
    """
    key = itemgetter("video_id", "category_id")
    ranked = sorted(results, key=lambda entry: (*key(entry), -entry["score"]))
    kept: list[Mapping[str, Any]] = []
    for _, entries in groupby(ranked, key):
        better: list[_Track] = []
        for entry in entries:
            track = _track(entry["segmentations"])
            if all(_shared(track, other) <= overlap for other in better):
                better.append(track)
                kept.append(entry)
    return kept


def _track(segmentations: Sequence[RLE | None]) -> _Track:
    return _Track(
        segmentations, sum(float(coco_mask.area(run)) for run in segmentations if run is not None)
    )


def _shared(one: _Track, other: _Track) -> float:
    """Share of the smaller track that lies on the larger one, 0..1."""
    both = sum(
        float(coco_mask.area(coco_mask.merge([a, b], intersect=True)))
        for a, b in zip(one.runs, other.runs, strict=True)
        if a is not None and b is not None
    )
    return both / max(1.0, min(one.area, other.area))
