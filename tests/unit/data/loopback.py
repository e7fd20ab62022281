"""Cameras of the network, played on 127.0.0.1 by threads: HTTP, TCP, UDP and RTSP."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Serve = Callable[[socket.socket], None]
SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\n"
TS_PACKET = 188  # bytes


@contextmanager
def served(answer: Serve) -> Iterator[int]:
    """A port of 127.0.0.1 where one client is answered."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.settimeout(20)

        def serve() -> None:
            client, _ = listening.accept()
            with client:
                answer(client)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(20)


def reset(client: socket.socket) -> None:
    """Ends the connection as a camera does whose plug is pulled."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def silent(client: socket.socket) -> None:
    """Says nothing more, until the other side hangs up."""
    client.settimeout(20)
    while client.recv(4096):
        pass


def plain(data: bytes, end: Serve = socket.socket.close) -> Serve:
    """Data as they are."""

    def answer(client: socket.socket) -> None:
        client.sendall(data)
        time.sleep(0.2)  # a reset would overtake data on their way
        end(client)

    return answer


def http(data: bytes, length: int, end: Serve = socket.socket.close) -> Serve:
    """An answer that promises `length` bytes, and holds `data`."""

    def answer(client: socket.socket) -> None:
        client.recv(4096)
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
        plain(head.encode() + data, end)(client)

    return answer


def rtsp(data: bytes, asked: list[str], end: Serve = socket.socket.close) -> Serve:
    """A camera that sends an MPEG transport stream as RTP within the RTSP connection.

    Args:
        data: the transport stream.
        asked: is told the first line of each request.
        end: of the connection, once all is sent.
    """
    extra = {
        "OPTIONS": "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n",
        "DESCRIBE": f"Content-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n",
        "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n",
    }

    def answer(client: socket.socket) -> None:
        requests = client.makefile("rb")
        while not asked or not asked[-1].startswith("PLAY"):
            lines = list(iter(lambda: requests.readline().decode().strip(), ""))
            asked.append(lines[0])
            method = lines[0].partition(" ")[0]
            number = next(line for line in lines if line.startswith("CSeq"))
            text = f"RTSP/1.0 200 OK\r\n{number}\r\n{extra.get(method, '')}\r\n"
            client.sendall((text + (SDP if method == "DESCRIBE" else "")).encode())
        plain(b"".join(_rtp(data)), end)(client)

    return answer


def _rtp(data: bytes) -> Iterator[bytes]:
    step = 7 * TS_PACKET
    for number, start in enumerate(range(0, len(data), step)):
        packet = (
            struct.pack("!BBHII", 0x80, 33, number, 900 * number, 1) + data[start : start + step]
        )
        yield struct.pack("!cBH", b"$", 0, len(packet)) + packet
