"""Network streams from 127.0.0.1 and cameras that are not there. No real camera is tried."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from dvis_daq.data import live
from dvis_daq.data.live import LiveStream
from dvis_daq.data.video_io import open_frames
from tests.unit.data.loopback import Serve, http, plain, reset, rtsp, served, silent
from tests.unit.data.test_video_io import error_of, moving_square, write_video

Answer = Callable[[bytes, Serve], Serve]
KINDS: dict[str, Answer] = {
    "http": lambda data, end: http(data, len(data) + 188, end),  # promises more than there is
    "tcp": plain,
    "rtsp": lambda data, end: rtsp(data, [], end),
}
# grey, for colours are coded at half the size
NOISE = np.random.default_rng(0).integers(0, 256, (12, 48, 64, 1), dtype=np.uint8).repeat(3, -1)


@pytest.fixture(scope="module")
def transport(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Twelve frames as an MPEG transport stream."""
    return write_video(tmp_path_factory.mktemp("live") / "clip.ts", NOISE).read_bytes()


def address(kind: str, port: int) -> str:
    return f"{kind}://user:secret@127.0.0.1:{port}/clip.ts"


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_by_its_url(transport: bytes, kind: str) -> None:
    with served(KINDS[kind](transport, socket.socket.close)) as port:
        source = open_frames(address(kind, port))
        assert isinstance(source, LiveStream) and source.live and source.length is None
        read = np.stack(list(source))
    assert len(read) >= 11 and error_of(read[:11], NOISE[:11]) < 12
    assert "secret" not in source.name


def test_rtsp_asks_for_tcp(transport: bytes) -> None:
    asked: list[str] = []
    with served(rtsp(transport, asked)) as port:
        assert list(open_frames(f"rtsp://127.0.0.1:{port}/door"))
    assert [line.split()[0] for line in asked] == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"]
    assert f"rtsp://127.0.0.1:{port}/door" in asked[-1]


def test_an_mp4_over_http_is_read_from_its_start(tmp_path: Path) -> None:
    """Without asking for parts of it: not every server gives them."""
    data = write_video(tmp_path / "clip.mp4", moving_square()).read_bytes()
    with served(http(data, len(data))) as port:
        read = np.stack(list(open_frames(f"http://127.0.0.1:{port}/clip.mp4")))
    assert error_of(read, moving_square()) < 6


@pytest.mark.parametrize(
    "kind, end, reason",
    [
        ("tcp", reset, "Connection reset by peer"),
        ("http", socket.socket.close, "Input/output error"),
        ("http", reset, "Connection reset by peer"),
        ("tcp", silent, "no data within the time limit"),
        ("rtsp", silent, "no data within the time limit"),
    ],
)
def test_a_connection_that_drops(
    transport: bytes,
    kind: str,
    end: Serve,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(live, "TIMEOUT", (2.0, 0.5))
    with served(KINDS[kind](transport[: len(transport) * 2 // 3], end)) as port:
        read = list(open_frames(address(kind, port)).attempts())  # the last one may be half there
    assert sum(isinstance(frame, np.ndarray) for frame in read) >= 6
    (message,) = caplog.messages
    assert message.startswith(f"{kind}://127.0.0.1:{port}") and "secret" not in message
    assert f"ends after {len(read)} frames, cannot be read on ({reason})" in message


def test_udp(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A sender that nobody answers; the stream ends when nothing more comes."""
    monkeypatch.setattr(live, "TIMEOUT", (10.0, 0.5))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    stop = threading.Event()
    thread = threading.Thread(target=_send, args=(f"udp://127.0.0.1:{port}", stop), daemon=True)
    thread.start()
    frames = iter(open_frames(f"udp://127.0.0.1:{port}"))
    read = [next(frames) for _ in range(3)]
    stop.set()
    read.extend(frames)
    thread.join(10)
    levels = [round(float(frame.mean())) for frame in read]
    assert levels == sorted(levels) and read[0].shape == (48, 64, 3)
    assert len(caplog.messages) == 1 and "no data within the time limit" in caplog.text


def _send(url: str, stop: threading.Event) -> None:
    """Frames that grow brighter, until told to stop."""
    with av.open(f"{url}?pkt_size=1316", "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in range(30, 250):
            frame = np.full((48, 64, 3), level, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            if stop.wait(0.02):
                break
        container.mux(stream.encode())


@pytest.mark.parametrize("kind, reason", [("tcp", "Connection refused"), ("rtsp", "refused"),
                                          ("http", "refused"), ("daq", "Protocol not found")])  # fmt: skip
def test_nobody_there(kind: str, reason: str) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        url = address(kind, taken.getsockname()[1])
        with pytest.raises(ValueError, match=f"clip.ts: cannot be opened .*{reason}") as error:
            list(open_frames(url))
    assert "secret" not in str(error.value)


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "TIMEOUT", (0.5, 0.5))
    started = time.monotonic()
    with (
        served(silent) as port,
        pytest.raises(ValueError, match="cannot be opened .no data within the time limit"),
    ):
        list(open_frames(f"http://127.0.0.1:{port}/door"))
    assert time.monotonic() - started < 10


def test_a_camera_by_its_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    source = open_frames("63")
    assert (source.name, source.url, source.format) == ("camera 63", "/dev/video63", "v4l2")
    with pytest.raises(ValueError, match="camera 63: cannot be opened"):
        list(source)
    monkeypatch.setattr(sys, "platform", "plan9")
    with pytest.raises(ValueError, match="cameras are read on linux and darwin only"):
        open_frames("63")
