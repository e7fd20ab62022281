"""The web demo in headless Chromium, and what a hostile client gets.

The model is a stub, but in one test, where the program runs as a user starts it.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dvis_daq.checkpoint import write_weights
from dvis_daq.data.video_io import VideoWriter
from dvis_daq.tracks import write_tracks
from tests.browser.chromium import chromium, console
from tests.conftest import ROOT
from tests.tools.scripts import load_script
from tests.unit.report.scene import content, pictures
from tests.unit.streaming.tiny import SIZES, tiny_frames, tiny_predictor

pytest.importorskip("gradio", reason="pip install '.[web]'")
web = load_script("tools/web_demo.py")

COMMANDS: list[list[str]] = []


def stub_demo(command: Sequence[str], seconds: float, watch: Callable[[], None]) -> None:
    """What tools/demo.py would write."""
    COMMANDS.append(list(command))
    output = Path(command[command.index("--output") + 1])
    write_tracks(output / "tracks.json", content())
    clip(output / "overlay.mp4")


def clip(path: Path) -> Path:
    with VideoWriter(path, fps=5) as writer:
        for frame in pictures():
            writer.write(frame)
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a running demo whose workplace is a folder of its own."""
    folder = tmp_path_factory.mktemp("workplace")
    patch = pytest.MonkeyPatch()
    patch.setenv("GRADIO_TEMP_DIR", str(folder))
    patch.setattr(web, "run_demo", stub_demo)
    model = web.Model(Path("a.yaml"), Path("a.safetensors"))
    limits = web.Limits(bytes=100_000, frames=50, seconds=60)
    page = web.build_page(web.Workshop({"tiny": model, "other": model}, limits, folder))
    arguments = ["--model", "tiny", "a", "b", "--port", str(free_port()), "--max-mb", "0.1"]
    yield web.launch(page, web.parse_arguments(arguments), block=False)
    page.close()
    patch.undo()


def upload_and_segment(browser: Any, address: str, path: Path, seen: Callable[[str], Any]) -> None:
    """As a visitor does it, until the results are there.

    Args:
        browser: a driver.
        address: of the page.
        path: of the clip.
        seen: told the text of the page again and again, while the clip is worked on.
    """
    from selenium.webdriver.support.ui import WebDriverWait

    wait = WebDriverWait(browser, 240, poll_frequency=0.2)
    browser.get(address)
    wait.until(settled)
    browser.find_element("css selector", "input[type=file]").send_keys(str(path))
    wait.until(lambda b: b.find_elements("css selector", f"a[download='{path.name}']"))
    browser.find_element("id", "start").click()

    def told(browser: Any) -> bool:
        seen(browser.find_element("css selector", "body").text)
        return "objects" in browser.find_element("id", "told").text

    wait.until(told)
    video = wait.until(lambda b: b.find_element("css selector", "#overlay video"))
    wait.until(lambda b: b.execute_script("return arguments[0].readyState", video) >= 2)


def downloads(browser: Any, address: str) -> dict[str, bytes]:
    """What the links of the page lead to, by file name."""
    links = [a.get_attribute("href") for a in browser.find_elements("css selector", "a[download]")]
    return {link.rsplit("/", 1)[1]: get(link) for link in links if link.startswith(address)}


@pytest.mark.slow  # the page alone takes half a minute on a busy machine
def test_upload_choose_watch_download(server: str, tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.mp4")
    COMMANDS.clear()
    with chromium() as browser:
        upload_and_segment(browser, server, path, lambda text: None)
        assert "3 objects" in browser.find_element("id", "told").text
        fetched = downloads(browser, server)
        loaded = browser.execute_script(
            "return performance.getEntriesByType('resource').map((r) => r.name)"
        )
        errors = console(browser, level="SEVERE")
    assert json.loads(fetched["tracks.json"])["format"] == "dvis_daq.tracks"
    assert b"<title>clip.mp4</title>" in fetched["report.html"]
    assert fetched["overlay.mp4"][4:8] == b"ftyp"
    assert [name for name in loaded if not name.startswith((server, "data:", "blob:"))] == []
    assert errors == []
    (command,) = COMMANDS
    assert command[command.index("--weights") + 1] == "a.safetensors"
    assert command[command.index("--max-frames") + 1] == "50"


@pytest.mark.slow
def test_a_real_model_from_the_command_line(tmp_path: Path) -> None:
    """Random weights; progress is shown, and what can be downloaded is what the demo writes."""
    weights, address = tmp_path / "model.safetensors", f"http://127.0.0.1:{free_port()}/"
    write_weights(weights, tiny_predictor("DVIS_DAQ_online").model.float().state_dict())
    with VideoWriter(tmp_path / "street.mp4", fps=5) as writer:
        for frame in tiny_frames(60):
            writer.write(frame)
    config = str(ROOT / "configs" / "synthetic" / "DVIS_DAQ_online.yaml")
    program = [sys.executable, str(ROOT / "tools" / "web_demo.py"), "--model", "tiny", config,
               str(weights), "--port", address.strip("/").rpartition(":")[2], "--max-frames", "50",
               "--opts", *SIZES, "INPUT.MIN_SIZE_TEST", "32"]  # fmt: skip
    texts: list[str] = []
    with subprocess.Popen(program) as host:
        try:
            wait_for(address)
            with chromium() as browser:
                upload_and_segment(browser, address, tmp_path / "street.mp4", texts.append)
                fetched = downloads(browser, address)
                if folder := os.environ.get("DVIS_DAQ_SCREENSHOTS"):
                    browser.save_screenshot(f"{folder}/web_demo.png")
        finally:
            host.terminate()
    content = json.loads(fetched["tracks.json"])
    assert content["video"]["frames"] == 50 and content["tracks"]
    assert fetched["overlay.mp4"][4:8] == b"ftyp" and b"<title>street.mp4" in fetched["report.html"]
    shown = {int(n) for text in texts for n in re.findall(r"(\d+)/50 frames", text)}
    assert any(0 < n < 50 for n in shown), sorted(set(texts))


def wait_for(address: str) -> None:
    """Until the page is served, two minutes at most."""
    for _ in range(240):
        try:
            get(address)
            return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(address)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def settled(browser: Any) -> bool:
    """Whether the page has loaded all of its parts: none came in the last two seconds.

    Gradio shows its inputs earlier, and loses what is put into them then.
    """
    count = "return performance.getEntriesByType('resource').length"
    before = browser.execute_script(count)
    time.sleep(2)
    return bool(before) and browser.execute_script(count) == before


def get(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=20) as answer:
        return answer.read()


def post(address: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        address, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())


def ask(server: str, path: str, model: str = "tiny", **more: Any) -> str:
    """What the demo answers to a client that names a file itself; all that it sent."""
    upload = {"path": path, "meta": {"_type": "gradio.FileData"}, **more}
    body = {"data": [upload, model, 0.3, ["masks"]], "fn_index": 0, "session_hash": "s"}
    try:
        post(f"{server}gradio_api/queue/join?", body)
    except urllib.error.HTTPError as error:
        return f"refused {error.code}"
    with urllib.request.urlopen(
        f"{server}gradio_api/queue/data?session_hash=s", timeout=20
    ) as stream:
        lines = []
        for line in stream:
            lines.append(line.decode())
            if "process_completed" in lines[-1] or "close_stream" in lines[-1]:
                break
    return "".join(lines)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../../etc/passwd", "file:///etc/passwd", "http://127.0.0.1:9/clip.mp4"]
)
def test_no_path_of_a_client_is_opened(server: str, path: str) -> None:
    COMMANDS.clear()
    answer = ask(server, path)
    assert COMMANDS == []
    assert "refused" in answer or '"success":false' in answer.replace(" ", "")
    assert "root:" not in answer


def test_a_video_elsewhere_on_the_disk_is_not_opened(server: str, tmp_path: Path) -> None:
    COMMANDS.clear()
    path = str(clip(tmp_path / "private.mp4"))
    for more in ({}, {"url": f"file://{path}"}, {"orig_name": "clip.mp4"}):
        assert '"success":false' in ask(server, path, **more).replace(" ", "")
    assert COMMANDS == []


def test_no_file_of_the_host_is_served(server: str, tmp_path: Path) -> None:
    path = clip(tmp_path / "private.mp4")
    for file in (path, Path(__file__), Path("/etc/passwd")):
        for route in ("file=", "file/", "proxy="):
            with pytest.raises(urllib.error.HTTPError) as refused:
                get(f"{server}gradio_api/{route}{file}")
            assert refused.value.code in (400, 403, 404, 405)


def send(server: str, content: bytes) -> list[str]:
    """Uploads a file as the page does; returns where it lies."""
    head = 'Content-Disposition: form-data; name="files"; filename="a.mp4"\r\n\r\n'
    body = b"--edge\r\n" + head.encode() + content + b"\r\n--edge--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=edge"}
    request = urllib.request.Request(f"{server}gradio_api/upload", body, kind)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())


def test_an_uploaded_clip_is_taken_the_same_way(server: str, tmp_path: Path) -> None:
    COMMANDS.clear()
    (path,) = send(server, clip(tmp_path / "clip.mp4").read_bytes())
    assert '"success":true' in ask(server, path).replace(" ", "")
    assert len(COMMANDS) == 1
    assert '"success":false' in ask(server, path, model="../other").replace(" ", "")
    (path,) = send(server, b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
    answer = ask(server, path)
    assert "This is no video" in answer and len(COMMANDS) == 1


def test_a_large_upload_is_refused(server: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        send(server, bytes(200_000))
    assert refused.value.code == 413


def test_this_computer_alone(server: str) -> None:
    assert server.startswith("http://127.0.0.1:")
    port = int(server.rsplit(":", 1)[1].strip("/"))
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), port)} - {
        "127.0.0.1",
        "::1",
    }
    for address in others:
        with pytest.raises(OSError):
            socket.create_connection((address, port), timeout=2)
