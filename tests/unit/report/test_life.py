"""Events of a track, from its states."""

from __future__ import annotations

import pytest

from dvis_daq.report.life import events, stretches
from dvis_daq.tracks import Track


def track(born: int, states: str) -> Track:
    return Track(
        id=3,
        label=0,
        name="disc",
        score=0.9,
        born=born,
        states=states,
        scores=(0.9,) * len(states),
        masks=(None,) * len(states),
    )


@pytest.mark.parametrize(
    "born, states, expected",
    [
        (0, "vvvvvv", "start 0"),
        (2, "vvvv", "born 2"),
        (0, "vvv", "start 0, gone 3"),
        (1, "vhhv", "born 1, hidden 2, back 4, gone 5"),
        (0, "vvhhhh", "start 0, hidden 2"),  # the patience outlasts the video
        (3, "hv", "born 3, hidden 3, back 4, gone 5"),
    ],
)
def test_events(born: int, states: str, expected: str) -> None:
    found = ", ".join(f"{kind} {frame}" for kind, frame in events(track(born, states), 6))
    assert found == expected


def test_stretches_cover_the_life() -> None:
    assert stretches(track(2, "vvhv")) == [("visible", 2, 4), ("hidden", 4, 5), ("visible", 5, 6)]
