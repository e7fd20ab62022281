"""How far two results of a video agree."""

from __future__ import annotations

from typing import Any

from pycocotools import mask as coco


def agreement(one: dict[str, Any], other: dict[str, Any]) -> dict[str, float]:
    """Two results of `runs.measure`.

    Returns:
        `ids`: share of the pairs (track, class) that both report; of those in both, `iou`: pixels
        in both masks over pixels in any, and `score`: the largest difference.
    """
    pairs = one["masks"].keys() & other["masks"].keys()
    common = joined = 0.0
    for pair in pairs:
        for mine, his in zip(one["masks"][pair], other["masks"][pair], strict=True):
            runs = [run for run in (mine, his) if run is not None]
            if not runs:
                continue
            joined += float(coco.area(coco.merge(runs)))
            if len(runs) == 2:
                common += float(coco.area(coco.merge(runs, intersect=True)))
    everything = one["masks"].keys() | other["masks"].keys()
    return {
        "ids": len(pairs) / len(everything),
        "iou": common / max(joined, 1.0),
        "score": max(
            (abs(one["scores"][pair] - other["scores"][pair]) for pair in pairs), default=0.0
        ),
    }
