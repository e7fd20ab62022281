"""What each task shows of a frame: tracks, panoptic segments, or classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from dvis_daq.streaming.masks import LogitMasks, MapMasks, Masks
from dvis_daq.streaming.online import SpokenFrame
from dvis_daq.streaming.state import Roster
from dvis_daq.structures import FrameSizes, VideoPrediction
from dvis_daq.tasks.vps import Panoptic
from dvis_daq.tasks.vss import Semantic

TaskHead = Callable[[VideoPrediction, FrameSizes], dict[str, Any]]


@dataclass(frozen=True)
class FrameRows:
    """n rows of one frame, by id.

    Attributes:
        ids, labels: (n,) int64.
        scores, frame_scores: (n,).
        visible: (n,) bool.
        masks: of the rows.
    """

    ids: Tensor
    labels: Tensor
    scores: Tensor
    frame_scores: Tensor
    visible: Tensor
    masks: Masks


@dataclass(frozen=True)
class Events:
    """What happened between two frames."""

    new: tuple[int, ...]
    returned: tuple[int, ...]
    departed: tuple[int, ...]


@dataclass(frozen=True)
class Selection:
    """Which rows are shown.

    Attributes:
        score: least score of the whole track so far, 0..1.
        labels: class indices; None for all.
    """

    score: float = 0.0
    labels: frozenset[int] | None = None

    def of(self, labels: Tensor, scores: Tensor) -> Tensor:
        """(m,) index of the rows to show, of labels (n,) and scores (n,)."""
        keep = scores >= self.score
        if self.labels is not None:
            wanted = torch.tensor(sorted(self.labels), dtype=torch.int64, device=labels.device)
            keep = keep & torch.isin(labels, wanted)
        return keep.nonzero().squeeze(1)


def rows_of(
    spoken: SpokenFrame, sizes: FrameSizes, *, task: str, head: TaskHead, selection: Selection
) -> FrameRows:
    """The rows that a task shows.

    Args:
        task: vis | vos | vps | vss.
        head: of the task, for the maps of vps and vss.
    """
    if task == "vps":
        return _segments(spoken, cast(Panoptic, head(spoken.prediction, sizes)), selection)
    if task == "vss":
        return _classes(spoken, cast(Semantic, head(spoken.prediction, sizes)), selection)
    scores, labels = _best(spoken.prediction)
    rows = selection.of(labels, scores)
    return FrameRows(
        ids=spoken.prediction.ids[rows],
        labels=labels[rows],
        scores=scores[rows],
        frame_scores=spoken.frame_scores[rows],
        visible=spoken.visible[rows],
        masks=LogitMasks(spoken.prediction.masks[rows], sizes),
    )


def events_of(before: Roster, rows: FrameRows, living: Tensor) -> tuple[Events, Roster]:
    """Who came, came back and went, and who is to be remembered.

    A class of stuff never departs, and neither does a class of `vss`.
    """
    ids, seen = rows.ids.tolist(), set(rows.ids[rows.visible].tolist())
    known, alive = set(before.ids), set(living.tolist())
    departed = [i for i in before.ids if i >= 0 and i not in alive]
    kept = tuple(sorted((known | set(ids)) - set(departed)))
    events = Events(
        new=tuple(i for i in ids if i not in known),
        returned=tuple(i for i in ids if i in seen and i in known and i not in before.visible),
        departed=tuple(departed),
    )
    return events, Roster(kept, tuple(sorted(seen)))


def _best(prediction: VideoPrediction) -> tuple[Tensor, Tensor]:
    """(N,) score and label of the best real class."""
    best = prediction.class_scores()[:, :-1].max(-1)
    return best.values, best.indices


def _segments(spoken: SpokenFrame, result: Panoptic, selection: Selection) -> FrameRows:
    """Things keep the id of their track; a class of stuff has -1 - class."""
    scores, _ = _best(spoken.prediction)
    segments, segment_map = result["segments"], result["panoptic"][0]
    present = set(segment_map.unique().tolist())
    segments = sorted(
        (segment for segment in segments if segment["id"] in present),
        key=lambda s: s["track"] if s["isthing"] else -1 - s["category_id"],
    )
    track = torch.tensor([s["track"] for s in segments], dtype=torch.int64)
    labels = torch.tensor([s["category_id"] for s in segments], dtype=torch.int64)
    isthing = torch.tensor([s["isthing"] for s in segments], dtype=torch.bool)
    place = torch.searchsorted(spoken.prediction.ids.cpu(), track)
    values = torch.tensor([s["id"] for s in segments], dtype=torch.int64)
    return _selected(
        FrameRows(
            ids=torch.where(isthing, track, -1 - labels),
            labels=labels,
            scores=scores.cpu()[place],
            frame_scores=spoken.frame_scores.cpu()[place],
            visible=torch.ones_like(isthing),
            masks=_map_of(segment_map, values),
        ),
        selection,
    )


def _classes(spoken: SpokenFrame, result: Semantic, selection: Selection) -> FrameRows:
    """Each class that has a pixel."""
    class_map = result["semantic"][0]
    labels = class_map.unique().long()
    scores = spoken.prediction.class_scores()[:, :-1].cpu().amax(0)[labels]
    return _selected(
        FrameRows(
            ids=labels,
            labels=labels,
            scores=scores,
            frame_scores=scores,
            visible=torch.ones_like(labels, dtype=torch.bool),
            masks=_map_of(class_map, labels),
        ),
        selection,
    )


def _selected(rows: FrameRows, selection: Selection) -> FrameRows:
    kept = selection.of(rows.labels, rows.scores)
    assert isinstance(rows.masks, MapMasks)
    return FrameRows(
        ids=rows.ids[kept],
        labels=rows.labels[kept],
        scores=rows.scores[kept],
        frame_scores=rows.frame_scores[kept],
        visible=rows.visible[kept],
        masks=_map_of(rows.masks.row_map, kept),
    )


def _map_of(values_map: Tensor, values: Tensor) -> MapMasks:
    """The row of each pixel, from a map of values and the value of each row."""
    row_map = torch.full_like(values_map, -1, dtype=torch.int64)
    for row, value in enumerate(values.tolist()):
        row_map[values_map == value] = row
    return MapMasks(row_map, len(values))
