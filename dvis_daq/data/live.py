"""Cameras and network streams: frames that come once (PyAV)."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import av
import numpy as np

from dvis_daq.data.decoding import BrokenFrame, decoded, reason_of

logger = logging.getLogger(__name__)

TIMEOUT = (10.0, 10.0)  # seconds to open a stream, and to wait for a packet of it

# How FFmpeg names camera n: (device, format), by sys.platform.
_CAMERAS = {"linux": ("/dev/video{}", "v4l2"), "darwin": ("{}", "avfoundation")}


@dataclass(frozen=True)
class LiveStream:
    """A video that can be read once: a camera, or any URL that FFmpeg opens.

    Attributes:
        name: for messages and results, without user name and password.
        url: what FFmpeg opens.
        format: of the device; None lets FFmpeg find out.
    """

    name: str
    url: str
    format: str | None = None

    live = True  # read once, and perhaps without end
    length = None

    @property
    def fps(self) -> None:
        return None

    def __iter__(self) -> Iterator[np.ndarray]:
        return (frame for frame in self.attempts() if not isinstance(frame, BrokenFrame))

    def attempts(self) -> Iterator[np.ndarray | BrokenFrame]:
        """Frames as they come, and in place of a lost one what became of it.

        A connection that drops ends them, with a warning.

        Raises:
            ValueError: the stream cannot be opened, or has no video.
        """
        try:
            container = av.open(
                self.url, format=self.format, options=_options(self.url), timeout=TIMEOUT
            )
        except (av.FFmpegError, OSError) as error:
            raise ValueError(f"{self.name}: cannot be opened ({reason_of(error)})") from error
        with container:
            if not container.streams.video:
                raise ValueError(f"{self.name}: has no video stream")
            for count, frame in enumerate(decoded(container)):
                if isinstance(frame, BrokenFrame) and frame.last:
                    logger.warning("%s: ends after %d frames, %s", self.name, count, frame.reason)
                    return
                yield frame


def camera(index: int) -> LiveStream:
    """Camera number `index` of this machine.

    Raises:
        ValueError: it is not known how cameras are named here.
    """
    if sys.platform not in _CAMERAS:
        raise ValueError(
            f"camera {index}: cameras are read on {' and '.join(_CAMERAS)} only; "
            "name a stream by its URL instead"
        )
    device, kind = _CAMERAS[sys.platform]
    return LiveStream(f"camera {index}", device.format(index), kind)


def network_stream(url: str) -> LiveStream:
    """A stream by its URL: rtsp, rtmp, http, udp, ..."""
    return LiveStream(_without_password(url), url)


def _options(url: str) -> dict[str, str]:
    """RTSP over TCP: over UDP a busy network leaves holes in the pictures."""
    return {"rtsp_transport": "tcp"} if url.startswith("rtsp") else {}


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
