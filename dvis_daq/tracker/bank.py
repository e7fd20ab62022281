"""What the tracks of a video have shown so far, kept until somebody takes it.

Tracker and life cycle forget a frame as soon as they have seen it. The bank keeps the masks
of living tracks at stride 4 and the running mean of their logits, and hands finished frames
out as a `VideoPrediction`. Drained now and then, it holds a bounded number of frames,
however long the video.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dvis_daq.layers import at_least_float32
from dvis_daq.structures import VideoPrediction
from dvis_daq.tracker.pooling import BestScores
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


@dataclass(frozen=True)
class LogitMeans:
    """Running means of the class logits of n tracks."""

    ids: Tensor  # (n,) rising
    sums: Tensor  # (n, K + 1), float32 at least
    counts: Tensor  # (n,) int64

    @classmethod
    def start(cls, ids: Tensor, logits: Tensor) -> LogitMeans:
        """No tracks; device, type and K are those of the arguments."""
        return cls(ids[:0], at_least_float32(logits[:0]), ids[:0])

    def add(self, ids: Tensor, logits: Tensor, weight: int = 1) -> LogitMeans:
        """One more frame of the tracks `ids`, rising, or `weight` frames that are alike."""
        known = torch.cat([self.ids, ids]).unique()
        before = torch.searchsorted(known, self.ids)
        sums = self.sums.new_zeros(len(known), logits.shape[1]).index_copy(0, before, self.sums)
        counts = torch.zeros_like(known).index_copy(0, before, self.counts)
        rows = torch.searchsorted(known, ids)
        sums = sums.index_add(0, rows, weight * logits.to(sums.dtype))
        counts = counts.index_add(0, rows, torch.full_like(rows, weight))
        return LogitMeans(known, sums, counts)

    def of(self, ids: Tensor) -> Tensor:
        """(N, K + 1) means of the tracks `ids`, all of them known."""
        rows = torch.searchsorted(self.ids, ids)
        return self.sums[rows] / self.counts[rows, None]

    def keep(self, ids: Tensor) -> LogitMeans:
        """Without the tracks that are not in `ids`."""
        rows = torch.isin(self.ids, ids)
        return LogitMeans(self.ids[rows], self.sums[rows], self.counts[rows])


class TrackBank:
    """Masks of the frames not handed out yet, and the mean logits of their tracks.

    As released, a track that is out of sight but within its patience still shows its mask,
    and its logits count. `show_unseen=False` leaves those masks out; the logits count still.

    Args:
        dtype: of stored masks; None keeps theirs. Half precision halves the memory and may
            flip pixels on a boundary.
        device: where everything is stored; None keeps it where it is.
        show_unseen: whether frames in which a track was not accepted show its mask.
        scores: begins what pools the scores of a track's frames; None: its scores are the
            softmax of its mean logits.
    """

    def __init__(
        self,
        *,
        dtype: torch.dtype | None = torch.float16,
        device: torch.device | str | None = "cpu",
        show_unseen: bool = True,
        scores: Callable[[Tensor, Tensor], BestScores] | None = None,
    ) -> None:
        self._dtype = dtype
        self._device = device
        self._show_unseen = show_unseen
        self._frames: deque[_Frame] = deque()
        self._start = 0  # video index of _frames[0]
        self._means: LogitMeans | None = None  # of tracks in pending frames, and living ones
        self._start_scores = scores
        self._scores: BestScores | None = None  # likewise

    def __len__(self) -> int:
        """Frames held."""
        return len(self._frames)

    @property
    def nbytes(self) -> int:
        """Bytes of the masks held."""
        return sum(frame.masks.nbytes for frame in self._frames)

    def add(self, state: TrackState, step: TrackerStep, rows: Tensor, seen: Tensor) -> None:
        """Stores one frame.

        Args:
            state: after the frame, as `advance` returned it.
            step: of the frame, N + M rows.
            rows: (N',) the rows of `step` that live on, from `advance`; N' = len(state).
            seen: (N + M,) bool, the rows accepted in the frame.
        """
        device = self._device or step.queries.device
        ids = state.ids.to(device)
        masks = step.tracked.masks[-1, rows].detach()  # (N', T, h, w), T = 1 but for clips
        masks = masks.to(device, self._dtype or masks.dtype)
        shown = seen[rows].to(device)
        self._frames.extend(_Frame(ids, frame, shown) for frame in masks.unbind(1))
        logits = step.tracked.logits[-1, rows].detach().to(device)
        self._means = (self._means or LogitMeans.start(ids, logits)).add(ids, logits)
        if self._start_scores is not None:
            known = self._scores or self._start_scores(ids, logits)
            self._scores = known.add(ids, logits)

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
        assert self._means is not None  # there are frames
        first = self._frames[0].masks
        masks = first.new_full((*sightings.alive.shape, *first.shape[1:]), NOTHING)
        shown = sightings.alive if self._show_unseen else sightings.visible
        for t in range(masks.shape[1]):
            frame = self._frames.popleft()  # freed one by one: the peak is one copy
            masks[shown[:, t], t] = frame.masks if self._show_unseen else frame.masks[frame.seen]
        logits = self._means.of(sightings.ids)
        scores = None if self._scores is None else self._scores.of(sightings.ids)
        self._start += masks.shape[1]
        held = [pending.ids for pending in self._frames] or [frame.ids]  # the last are alive
        self._means = self._means.keep(torch.cat(held))
        if self._scores is not None:
            self._scores = self._scores.keep(torch.cat(held))
        return VideoPrediction(sightings.ids, logits, masks, sightings.start, scores)

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
