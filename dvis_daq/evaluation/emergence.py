"""How a model deals with objects that come and go, from overlaps alone.

Collects what `metrics.events` and `metrics.presence` define: AP^ed in both forms, event
recalls, latency, ghost frames, id switches, and the list of missed emergences.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dvis_daq.metrics.events import FLAGS, EdShare, EventRecall
from dvis_daq.metrics.matching import Matches
from dvis_daq.metrics.overlap import Overlap
from dvis_daq.metrics.presence import Presence
from dvis_daq.metrics.video_ap import AREAS, accumulate, figures

SLACKS = (0, 1)  # frames
SHARES = (0.3, 0.4, 0.5, 0.6)  # of ed objects in a video, the suffixes of the released splits


class EventScores:
    """Sums over the overlaps of a data set; `figures` reads them."""

    def __init__(self) -> None:
        self.recalls = [EventRecall(slack) for slack in SLACKS]
        self.presence = Presence()
        self.share = EdShare()

    def add(self, overlap: Overlap) -> None:
        """Adds one video and class; the overlap must hold all predictions."""
        for recall in self.recalls:
            recall.add(overlap)
        self.presence.add(overlap)
        self.share.add(overlap)

    def figures(
        self, matches: Sequence[Matches], *, names: Sequence[str], categories: Sequence[int]
    ) -> dict[str, Any]:
        """All event figures, fractions.

        Args:
            matches: of the whole data set, with the slices of `event_slices`.
            names: of all slices of `matches`.
            categories: category ids.

        Returns:
            "ap": figures by flag; "ap_videos": figures and ids by least share; "recall_delta0"
            and "recall_delta1"; "presence".
        """
        curves = accumulate(matches, names=names, categories=categories)
        endings = ("", *AREAS)
        result: dict[str, Any] = {
            "ap": {flag: figures(curves.select(endings, prefix=flag)) for flag in FLAGS},
            "ap_videos": {},
        }
        for share in SHARES:
            ids = self.share.videos(share)
            curves = accumulate(matches, names=names, categories=categories, videos=set(ids))
            row = figures(curves.select(endings))
            result["ap_videos"][str(share)] = {"video_ids": ids, **row}
        for recall in self.recalls:
            result[f"recall_delta{recall.slack}"] = recall.figures()
        result["presence"] = self.presence.figures()
        return result
