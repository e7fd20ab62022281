"""Which rows of a tracker stand for an event, and their feature transition gap (Tab. A3).

The paper gives figures without a definition; `DEFINITION` is ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from dvis_daq.evaluation.transition_gap import transition_gap
from dvis_daq.structures import ClipTargets
from dvis_daq.tracker.loop import TrackedFrame
from dvis_daq.tracker.state import TrackState, Transition

MIN_IOU = 0.5  # of a row that shows an object, at stride 4
STRIDE = 4
KINDS = ("emergence", "disappearance")

DEFINITION = (
    "CS = a.b / (|a| |b|), NED = |a - b| / (|a| + |b|) of a query a that enters the tracker and "
    "the query b that leaves it, mean and population standard deviation over events. "
    "Emergence: an object is visible for the first time, after the first frame; a and b belong to "
    "the accepted row that shows it best among those that never stood for an object. "
    "Disappearance: an object is visible in one frame and not in the next; a and b belong, in "
    "the next frame, to the track that showed it best in the one before. With dynamic anchors a "
    "is content plus position of the anchor (of tracker 2 for a disappearance), otherwise the "
    "row's query of the frame before. A row shows an object if their masks at stride 4 have an "
    "IoU of at least 0.5; best is the largest product of IoU and class probability. An event "
    "without such a row is counted as unmatched."
)


class Event(NamedTuple):
    """One event: its kind, and the gap; None where no row stood for it."""

    kind: str
    cosine: float | None = None
    distance: float | None = None


@dataclass
class Transitions:
    """Watches the events of one video while it is tracked; `add` every frame in order."""

    events: list[Event] = field(default_factory=list)
    _before: TrackState | None = None
    _seen: set[int] = field(default_factory=set)  # objects that were visible
    _holders: dict[int, int | None] = field(default_factory=dict)  # object -> track, last frame
    _used: set[int] = field(default_factory=set)  # tracks that stood for an object

    def add(self, done: TrackedFrame, truth: ClipTargets) -> None:
        """One frame.

        Args:
            done: as `tracker.loop.track` yields it.
            truth: the objects that are visible in it, T = 1, masks at the size of the network's
                input without its padding.

        Raises:
            ValueError: the tracker has new rows, but does not say what they began as.
        """
        ids = _row_ids(done, self._before)
        fits = row_fits(done, truth)  # (G, N + M)
        visible = dict(zip(truth.ids.tolist(), fits, strict=True))
        if self._before is not None:
            self._emergences(done, self._before, ids, visible)
            self._disappearances(done, self._before, visible)
        self._holders = {key: _best(fit, ids) for key, fit in visible.items()}
        self._used |= {track for track in self._holders.values() if track is not None}
        self._seen |= visible.keys()
        self._before = done.state

    def _emergences(
        self, done: TrackedFrame, before: TrackState, ids: Tensor, visible: Mapping[int, Tensor]
    ) -> None:
        used = torch.tensor(sorted(self._used), dtype=torch.int64)
        free = torch.where(torch.isin(ids, used), -1, ids)
        for key in visible.keys() - self._seen:
            track = _best(visible[key], free)
            if track is None:
                self.events.append(Event("emergence"))
                continue
            moved = done.step.emergence or _carried(done, before)
            self.events.append(_event("emergence", moved, ids.tolist().index(track)))

    def _disappearances(
        self, done: TrackedFrame, before: TrackState, visible: Mapping[int, Tensor]
    ) -> None:
        known = before.ids.tolist()
        for key in self._holders.keys() - visible.keys():
            track = self._holders[key]
            if track not in known:
                self.events.append(Event("disappearance"))
                continue
            moved = done.step.disappearance or _carried(done, before)
            self.events.append(_event("disappearance", moved, known.index(track)))


def row_fits(done: TrackedFrame, truth: ClipTargets) -> Tensor:
    """How well each row shows each object, on the CPU.

    Returns:
        (G, N + M) IoU times probability of the object's class; 0 where the IoU is below 0.5 or
        the row is not accepted.
    """
    step = done.step.tracked
    masks = (step.masks[-1, :, 0] > 0).flatten(1).float().cpu()  # (R, hw)
    objects = _at_stride(truth.masks[:, 0], step.masks.shape[-2:]).flatten(1)  # (G, hw)
    both = objects @ masks.T
    union = objects.sum(1)[:, None] + masks.sum(1) - both
    iou = both / union.clamp(min=1)
    classes = step.logits[-1].float().softmax(-1).cpu().T[truth.labels]  # (G, R)
    return iou * classes * (iou >= MIN_IOU) * done.seen.cpu()


def summarize(events: Iterable[Event]) -> dict[str, Any]:
    """Mean and standard deviation of CS and NED, of both kinds together and of each.

    Returns:
        For "all" and each kind: events, unmatched, CS, CS_std, NED, NED_std; None without a
        matched event.
    """
    events = list(events)
    parts = {kind: [event for event in events if event.kind == kind] for kind in KINDS}
    return {name: _figures(part) for name, part in {"all": events, **parts}.items()}


def text(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """The figures of `summarize` as a table of Markdown."""
    lines = ["| transition | CS | NED | events | without a row |", "|---|---|---|---|---|"]
    for name, row in figures.items():
        cells = [
            "-" if row[key] is None else f"{row[key]:.3f} ± {row[f'{key}_std']:.3f}"
            for key in ("CS", "NED")
        ]
        lines.append(f"| {name} | {' | '.join(cells)} | {row['events']} | {row['unmatched']} |")
    return "\n".join(lines)


def _figures(events: list[Event]) -> dict[str, float | int | None]:
    pairs = [(e.cosine, e.distance) for e in events if e.cosine is not None]
    figures: dict[str, float | int | None] = {
        "events": len(events),
        "unmatched": len(events) - len(pairs),
    }
    values = torch.tensor(pairs, dtype=torch.float64).reshape(-1, 2)
    for name, column in zip(("CS", "NED"), values.T, strict=True):
        known = len(column) > 0
        figures[name] = column.mean().item() if known else None
        figures[f"{name}_std"] = column.std(correction=0).item() if known else None
    return figures


def _carried(done: TrackedFrame, before: TrackState) -> Transition:
    """Of rows that begin as the queries of the frame before."""
    if len(before) != len(done.step.queries):
        raise ValueError(
            f"a step of {len(before)} tracks has {len(done.step.queries)} rows, but does not say "
            "what the new ones began as (TrackerStep.emergence)"
        )
    return Transition(before.queries, done.step.queries)


def _event(kind: str, moved: Transition, row: int) -> Event:
    gap = transition_gap(moved.anchors[row, None].float(), moved.results[row, None].float())
    return Event(kind, gap.cosine.item(), gap.distance.item())


def _row_ids(done: TrackedFrame, before: TrackState | None) -> Tensor:
    """(N + M,) int64 the track of each row on the CPU; -1 for a newcomer that was turned away."""
    ids = torch.full((len(done.seen),), -1, dtype=torch.int64)
    if before is not None:
        ids[: len(before)] = before.ids.cpu()
    ids[done.rows.cpu()] = done.state.ids.cpu()
    return ids


def _best(fit: Tensor, ids: Tensor) -> int | None:
    """The track of the row with the largest fit (R,); None where no row with a track fits."""
    fit = torch.where(ids >= 0, fit, 0)
    row = fit.argmax() if len(fit) else 0
    return int(ids[row]) if len(fit) and fit[row] > 0 else None


def _at_stride(masks: Tensor, size: tuple[int, ...]) -> Tensor:
    """(G, h, w) 0 or 1, of masks (G, H, W) bool padded at the bottom and right."""
    height, width = (STRIDE * side for side in size)
    bottom, right = height - masks.shape[1], width - masks.shape[2]
    padded = F.pad(masks.float(), (0, right, 0, bottom))
    return (F.avg_pool2d(padded[:, None], STRIDE)[:, 0] >= 0.5).float()
