"""What the tracks of a video have shown so far, kept until somebody takes it.

Tracker and life cycle forget a frame as soon as they have seen it. The bank keeps the masks
of living tracks at stride 4 and the running mean of their logits, and hands finished frames
out as a `VideoPrediction`. Drained now and then, it holds a bounded number of frames,
however long the video.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from dvis_daq.structures import VideoPrediction
from dvis_daq.tracker.state import TrackerStep, TrackState

NOTHING = -1e4  # mask logit where a track has nothing to say; exact in half precision


@dataclass(frozen=True)
class Sightings:
    """Which track was there when; rows as in the `VideoPrediction` of the same frames.

    Attributes:
        ids: (N,) int64, in order of birth.
        alive: (N, T) bool, the track has a mask in the frame, be it accepted or not.
        visible: (N, T) bool, the track was accepted in the frame.
        start: index of the first of the T frames in the video.
    """

    ids: Tensor
    alive: Tensor
    visible: Tensor
    start: int


@dataclass(frozen=True)
class _Frame:
    ids: Tensor  # (n,) rising
    masks: Tensor  # (n, h, w)
    seen: Tensor  # (n,) bool


class TrackBank:
    """Masks of the frames not handed out yet, and the mean logits of their tracks.

    As released, a track that is out of sight but within its patience still shows its mask,
    and its logits count. `show_unseen=False` leaves those masks out; the logits count still.

    Args:
        dtype: of stored masks; None keeps theirs. Half precision halves the memory and may
            flip pixels on a boundary.
        device: where everything is stored; None keeps it where it is.
        show_unseen: whether frames in which a track was not accepted show its mask.
    """

    def __init__(
        self,
        *,
        dtype: torch.dtype | None = torch.float16,
        device: torch.device | str | None = "cpu",
        show_unseen: bool = True,
    ) -> None:
        self._dtype = dtype
        self._device = device
        self._show_unseen = show_unseen
        self._frames: deque[_Frame] = deque()
        self._start = 0  # video index of _frames[0]
        self._ids: Tensor | None = None  # (n,) rising: tracks in pending frames, and living ones
        self._logits = torch.empty(0)  # (n, K + 1) summed over the frames of each
        self._count = torch.empty(0)  # (n,) int64

    def __len__(self) -> int:
        """Frames held."""
        return len(self._frames)

    def add(self, state: TrackState, step: TrackerStep, rows: Tensor, seen: Tensor) -> None:
        """Stores one frame.

        Args:
            state: after the frame, as `advance` returned it.
            step: of the frame, N + M rows.
            rows: (N',) the rows of `step` that live on, from `advance`; N' = len(state).
            seen: (N + M,) bool, the rows accepted in the frame.
        """
        device = self._device or step.queries.device
        masks = step.tracked.masks[-1, rows, 0].detach()  # (N', h, w)
        ids = state.ids.to(device)
        self._frames.append(
            _Frame(ids, masks.to(device, self._dtype or masks.dtype), seen[rows].to(device))
        )
        self._count_logits(ids, step.tracked.logits[-1, rows].detach().to(device))

    def drain(self, until: int | None = None) -> VideoPrediction:
        """Hands out the frames before `until` and forgets them.

        Tracks come in order of birth, dead ones included, those alone that lived in these
        frames. Their logits are the mean over all their frames so far, over earlier drains
        and over frames not yet drained; so of several drains the last one that shows a
        track has its final logits, unless the track died without another frame.

        Args:
            until: index in the video of the first frame to keep; None hands out all.

        Raises:
            ValueError: no frame is held before `until`, or it lies beyond the last one.
        """
        sightings = self.sightings(until)
        ids = sightings.ids
        first = self._frames[0].masks
        height, width = first.shape[1:]
        masks = first.new_full((*sightings.alive.shape, height, width), NOTHING)
        shown = sightings.alive if self._show_unseen else sightings.visible
        for t in range(masks.shape[1]):
            frame = self._frames.popleft()  # freed one by one: the peak is one copy
            stored = frame.masks if self._show_unseen else frame.masks[frame.seen]
            masks[shown[:, t], t] = stored
        logits = self._mean_logits(ids)
        self._start += masks.shape[1]
        self._forget(frame.ids)
        return VideoPrediction(ids, logits, masks, sightings.start)

    def sightings(self, until: int | None = None) -> Sightings:
        """Who is there in the frames that `drain(until)` would hand out."""
        held = self._start + len(self._frames)
        until = held if until is None else until
        if not self._start < until <= held:
            raise ValueError(
                f"cannot drain until frame {until}: frames {self._start}..{held - 1} are held"
            )
        frames = [self._frames[t] for t in range(until - self._start)]
        ids = torch.cat([frame.ids for frame in frames]).unique()
        alive = torch.zeros(len(ids), len(frames), dtype=torch.bool, device=ids.device)
        visible = alive.clone()
        for t, frame in enumerate(frames):
            rows = torch.searchsorted(ids, frame.ids)
            alive[rows, t] = True
            visible[rows, t] = frame.seen
        return Sightings(ids, alive, visible, self._start)

    def _count_logits(self, ids: Tensor, logits: Tensor) -> None:
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if self._ids is None:
            self._ids, self._logits, self._count = ids[:0], logits[:0], ids[:0]
        new = len(ids) - int(torch.isin(ids, self._ids).sum())  # the last ones: ids rise
        self._ids = torch.cat([self._ids, ids[len(ids) - new :]])
        self._logits = torch.cat([self._logits, logits.new_zeros(new, logits.shape[1])])
        self._count = torch.cat([self._count, ids.new_zeros(new)])
        rows = torch.searchsorted(self._ids, ids)
        self._logits[rows] += logits
        self._count[rows] += 1

    def _mean_logits(self, ids: Tensor) -> Tensor:
        rows = torch.searchsorted(self._ids, ids)
        return self._logits[rows] / self._count[rows, None]

    def _forget(self, last: Tensor) -> None:
        """Drops the tracks that are in no frame held; `last` are those alive if none is."""
        held = torch.cat([frame.ids for frame in self._frames]) if self._frames else last
        keep = torch.isin(self._ids, held)
        self._ids, self._logits, self._count = (
            self._ids[keep],
            self._logits[keep],
            self._count[keep],
        )
