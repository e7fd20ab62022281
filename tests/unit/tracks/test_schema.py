"""tracks.json: what is written is read back, and a wrong file is one sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dvis_daq.tasks.vis import encode
from dvis_daq.tracks import (
    SkippedFrame,
    Span,
    State,
    Track,
    Video,
    VideoTracks,
    read_tracks,
    write_tracks,
)

[MASK] = encode(torch.ones(1, 4, 6, dtype=torch.bool))
CAR = Track(
    id=3,
    label=1,
    name="car",
    score=0.75,
    born=2,
    states="vvhhv",
    scores=(0.75, 0.5, 0.125, 0.25, 1.0),
    masks=(MASK, MASK, MASK, None, MASK),
)
CONTENT = VideoTracks(
    video=Video(name="street", source="a/street.mp4", height=4, width=6, fps=None, frames=9),
    tracks=(CAR, replace(CAR, id=4, name="person", label=0, score=0.25, born=8, states="v",
                         scores=(0.25,), masks=(None,))),
    classes=("person", "car"),
    cuts=(7,),
    skipped=(SkippedFrame(5, "cannot be decoded"),),
)  # fmt: skip


def test_written_and_read_back(tmp_path: Path) -> None:
    write_tracks(tmp_path / "tracks.json", CONTENT)
    assert read_tracks(tmp_path / "tracks.json") == CONTENT
    document = json.loads((tmp_path / "tracks.json").read_text())
    assert document["tracks"][0]["class"] == "car" and document["video"]["frames"] == 9


def test_life_of_a_track() -> None:
    states = [CAR.state(t) for t in range(9)]
    assert states == [
        *[State.UNBORN] * 2, *[State.VISIBLE] * 2, *[State.HIDDEN] * 2, State.VISIBLE,
        *[State.GONE] * 2,
    ]  # fmt: skip
    assert CAR.spans() == [
        Span(State.VISIBLE, 2, 4), Span(State.HIDDEN, 4, 6), Span(State.VISIBLE, 6, 7)
    ]  # fmt: skip
    assert [CAR.mask(t) is not None for t in range(9)] == [s in (2, 3, 4, 6) for s in range(9)]
    assert CAR.score_in(1) is None and CAR.score_in(4) == 0.125 and CAR.score_in(7) is None


def test_frames_and_selection() -> None:
    assert [(track.id, mask) for track, mask in CONTENT.frame(6)] == [(3, MASK)]
    assert list(CONTENT.frame(5)) == [] and list(CONTENT.frame(8)) == []
    assert [track.id for track in CONTENT.select(score=0.5).tracks] == [3]
    assert [track.id for track in CONTENT.select(classes=["person"]).tracks] == [4]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"format": "else"}, "no tracks file"),
        ({"version": 2}, "version 2 of the format, this program reads 1"),
        ({"video": {"name": "x"}}, "not as the schema says"),
        ({"tracks": [{"id": 1}]}, "not as the schema says"),
    ],
)
def test_wrong_files(tmp_path: Path, change: dict, message: str) -> None:
    path = tmp_path / "tracks.json"
    write_tracks(path, CONTENT)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        read_tracks(path)


def test_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "tracks.json"
    write_tracks(path, CONTENT)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"tracks.json: no JSON .*; write it again"):
        read_tracks(path)


@pytest.mark.parametrize("states", ["", "vvhh", "vvhhg"])
def test_a_track_needs_an_entry_for_each_frame(states: str) -> None:
    with pytest.raises(ValueError, match="track 3: states, scores and masks"):
        replace(CAR, states=states)
