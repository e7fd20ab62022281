"""Emergence and disappearance simulation (EDS, paper Sec. 3.3), as a schedule of stages.

The paper removes tracks (an emergence) and candidates (a disappearance) at random. The
released weights were trained by the rules below: which tracks go is not random, and objects
disappear only in the second stage, one a frame, when more than three are tracked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from dvis_daq.structures import Assignment

HIDE = ("none", "random", "continuous", "one")


class Choice:
    """Picks one of n entries at random.

    Args:
        generator: source of randomness on the CPU; None for torch's own.
    """

    def __init__(self, generator: torch.Generator | None = None) -> None:
        self.generator = generator

    def __call__(self, n: int) -> int:
        """An index in 0..n-1."""
        return int(torch.randint(n, (), generator=self.generator))


@dataclass(frozen=True)
class Stage:
    """The rules of a stretch of training.

    Attributes:
        until: first iteration after the stage; None lasts to the end.
        frames: frames of a clip that are used; None for all.
        drop: "half" lets go of the lower-scoring half of the matched tracks after each frame
            (emergence simulation); "none" keeps all matched ones.
        score: 0..1, instead of `drop`: all rows above it are kept, matched or not.
        hide: disappearance simulation (Tab. 3d): the candidates of a tracked object are hidden
            from tracker 2. "random" (released) draws the object anew in every frame,
            "continuous" stays with one for the whole clip, "one" hides one in a single frame
            of the clip; "none" hides nothing.
        hide_above: only when more objects than this are tracked.
    """

    until: int | None = None
    frames: int | None = None
    drop: str = "none"
    score: float | None = None
    hide: str = "none"
    hide_above: int = 3

    def __post_init__(self) -> None:
        if self.drop not in ("none", "half"):
            raise ValueError(f"DROP of a stage is {self.drop!r}, expected 'none' or 'half'")
        if self.hide not in HIDE:
            raise ValueError(f"HIDE of a stage is {self.hide!r}, expected one of {', '.join(HIDE)}")
        if self.score is not None and self.drop != "none":
            raise ValueError(f"a stage has SCORE {self.score} and DROP {self.drop!r}; choose one")
        if self.frames is not None and self.frames < 2:
            raise ValueError(f"FRAMES of a stage is {self.frames}; a track needs at least 2")

    def piece(self, num_frames: int, choice: Choice) -> slice:
        """The frames to use of a clip of `num_frames`.

        As released, a piece of n frames begins at one of the first n places, here as far as
        it fits; the mapper has already chosen the clip at random.
        """
        length = min(self.frames or num_frames, num_frames)
        start = choice(min(length, num_frames - length + 1))
        return slice(start, start + length)


RELEASED_STAGES = (
    Stage(until=10_000, frames=2, drop="half"),
    Stage(frames=5, score=0.1, hide="random"),
)


class Disappearance(NamedTuple):
    """A simulated disappearance: what tracker 2 may not see, and which object that is."""

    candidates: Tensor  # (Q,) bool
    target: int


def stage_at(stages: Sequence[Stage], iteration: int) -> Stage:
    """The stage of an iteration, counted from 0.

    Raises:
        ValueError: the schedule ends before the iteration.
    """
    for stage in stages:
        if stage.until is None or iteration < stage.until:
            return stage
    raise ValueError(
        f"iteration {iteration} lies after the last stage of MODEL.EDS.STAGES; "
        "leave UNTIL out of the last stage"
    )


def emergence_survivors(scores: Tensor, pairs: Assignment, stage: Stage) -> Tensor:
    """Which rows of a frame are tracked on; an object that loses its row emerges again.

    Args:
        scores: (N,) scores of all rows.
        pairs: rows and their objects.
        stage: the rule.

    Returns:
        (N,) bool, on the device of `scores`.
    """
    if stage.score is not None:
        return scores > stage.score
    rows = pairs.query.to(scores.device)
    if stage.drop == "half":
        order = scores[rows].argsort(stable=True)
        rows = rows[order[len(rows) // 2 :]]
    survivors = torch.zeros_like(scores, dtype=torch.bool)
    survivors[rows] = True
    return survivors


def only_frame(stage: Stage, num_frames: int, choice: Choice) -> int | None:
    """The one frame of a clip in which an object may disappear; None: in any.

    The first is never chosen, as nothing is tracked before it.
    """
    if stage.hide != "one" or num_frames < 2:
        return None
    return 1 + choice(num_frames - 1)


def hidden_candidates(
    resembles: Tensor,
    tracked: Assignment,
    stage: Stage,
    choice: Choice,
    earlier: Disappearance | None = None,
) -> Disappearance | None:
    """Simulates that a tracked object disappears from a frame.

    Args:
        resembles: (Q,) object that each candidate of the frame is closest to, or -1.
        tracked: pairs of the tracks.
        stage: the rule.
        choice: picks the object among those of `tracked`.
        earlier: of the frame before; a "continuous" disappearance goes on with its object for
            as long as that is tracked.

    Returns:
        The candidates to hide and their object; None if nothing is simulated. An object that
        all candidates resemble is not hidden, because tracker 2 must have something to see.
    """
    if stage.hide == "none" or len(tracked.target) <= stage.hide_above:
        return None
    goes_on = stage.hide == "continuous" and earlier is not None
    if goes_on and (tracked.target == earlier.target).any():
        target = earlier.target
    else:
        target = int(tracked.target[choice(len(tracked.target))])
    candidates = resembles == target
    return None if candidates.all() else Disappearance(candidates, target)
