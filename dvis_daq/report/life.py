"""The life of a track as stretches and events, the way a reader of the report sees it."""

from __future__ import annotations

from typing import NamedTuple

from dvis_daq.tracks import Span, State, Track


class Event(NamedTuple):
    """Something that happens to a track.

    Attributes:
        kind: start (there in the first frame) | born | hidden | back | gone.
        frame: the first frame of the new state.
    """

    kind: str
    frame: int


def events(track: Track, frames: int) -> list[Event]:
    """What happens to a track, in order.

    A track that still lives in the last of `frames` frames never goes.
    """
    found = [Event("born" if track.born else "start", track.born)]
    spans = track.spans()
    if spans[0].state is State.HIDDEN:  # anchored, but not seen yet
        found.append(Event("hidden", track.born))
    for span in spans[1:]:
        kind = "back" if span.state is State.VISIBLE else "hidden"
        found.append(Event(kind, span.start))
    if track.stop < frames:
        found.append(Event("gone", track.stop))
    return found


def stretches(track: Track) -> list[tuple[str, int, int]]:
    """(visible | hidden, first frame, first frame after it)."""
    return [_stretch(span) for span in track.spans()]


def _stretch(span: Span) -> tuple[str, int, int]:
    return span.state.value, span.start, span.stop
