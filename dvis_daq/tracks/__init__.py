"""Tracks of a video as a file that other programs read: schema, formats, converters."""

from dvis_daq.tracks.schema import (
    SkippedFrame,
    Span,
    State,
    Track,
    Video,
    VideoTracks,
    read_tracks,
    write_tracks,
)

__all__ = [
    "SkippedFrame",
    "Span",
    "State",
    "Track",
    "Video",
    "VideoTracks",
    "read_tracks",
    "write_tracks",
]
