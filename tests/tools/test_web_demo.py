"""tools/web_demo.py without its page: what is taken, what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.tools.scripts import load_script

web = load_script("tools/web_demo.py")

MP4 = b"\x00\x00\x00\x18ftypisom" + bytes(40)


def test_uploads_of_the_folder_are_taken(tmp_path: Path) -> None:
    for head in (MP4, b"\x1a\x45\xdf\xa3" + bytes(20), b"RIFF\x10\x00\x00\x00AVI LIST"):
        (tmp_path / "clip").write_bytes(head)
        assert web.checked_upload(tmp_path / "clip", tmp_path, 100) == tmp_path / "clip"


@pytest.mark.parametrize(
    "head",
    [
        b"#EXTM3U\nfile:///etc/passwd",
        b"ffconcat version 1.0\nfile a",
        b"<?xml version='1.0'?>",
        b"",
    ],
)
def test_what_is_no_video_is_refused(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "clip.mp4").write_bytes(head)
    with pytest.raises(web.RefusedError, match="no video"):
        web.checked_upload(tmp_path / "clip.mp4", tmp_path, 100)


def test_nothing_outside_of_the_folder(tmp_path: Path) -> None:
    inside = tmp_path / "uploads"
    inside.mkdir()
    (tmp_path / "private.mp4").write_bytes(MP4)
    (inside / "link.mp4").symlink_to(tmp_path / "private.mp4")
    for path in (
        "private.mp4",
        "uploads/../private.mp4",
        "uploads/link.mp4",
        "uploads",
        "uploads/no",
    ):
        with pytest.raises(web.RefusedError, match="Upload a clip first"):
            web.checked_upload(tmp_path / path, inside, 100)
    with pytest.raises(web.RefusedError, match="Upload a clip first"):
        web.checked_upload("", inside, 100)


def test_too_large(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(MP4)
    with pytest.raises(web.RefusedError, match="larger than"):
        web.checked_upload(tmp_path / "clip.mp4", tmp_path, len(MP4) - 1)


def test_choices_are_those_of_the_host(tmp_path: Path) -> None:
    workshop = web.Workshop({}, web.Limits(100, 5, 5), tmp_path)
    with pytest.raises(web.RefusedError, match="no such choice"):
        workshop.segment("clip.mp4", "/etc/weights.pth", 0.3, ["masks"])
    workshop = web.Workshop({"a": web.Model(tmp_path, tmp_path)}, web.Limits(100, 5, 5), tmp_path)
    with pytest.raises(web.RefusedError, match="no such choice"):
        workshop.segment("clip.mp4", "a", 0.3, ["masks", "--output"])


def test_a_failure_of_the_demo_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    fail = "import sys; print('a traceback'); sys.exit('error: the clip is broken')"
    with pytest.raises(web.RefusedError, match="^the clip is broken$"):
        web.run_demo([sys.executable, "-c", fail], 30, lambda: None)
    assert "the clip is broken" in capsys.readouterr().err
    with pytest.raises(web.RefusedError, match="takes more than 0.01 minutes"):
        web.run_demo([sys.executable, "-c", "import time; time.sleep(30)"], 0.6, lambda: None)


def test_models_are_checked_at_the_start(tmp_path: Path) -> None:
    there = tmp_path / "a.yaml"
    there.touch()
    given = ["--model", "a", str(there), str(there)]
    assert web.models_of(web.parse_arguments(given)) == {"a": web.Model(there, there)}
    with pytest.raises(SystemExit, match="no file nowhere.pth"):
        web.models_of(web.parse_arguments(["--model", "a", str(there), "nowhere.pth"]))
    with pytest.raises(SystemExit, match="given twice"):
        web.models_of(web.parse_arguments(given + given))


@pytest.mark.parametrize(
    "arguments", [[], ["--model", "a", "b"], ["--model", *"abc", "--max-mb", "0"]]
)
def test_wrong_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        web.parse_arguments(arguments)
    assert end.value.code == 2


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        web.main(["--help"])
    assert end.value.code == 0 and "Examples:" in capsys.readouterr().out


def test_a_job_is_watched() -> None:
    looks: list[int] = []
    talk = "import time; print('x' * 200_000); time.sleep(1.5)"  # more than a pipe holds
    web.run_demo([sys.executable, "-c", talk], 30, lambda: looks.append(1))
    assert len(looks) >= 2


def test_a_video_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(MP4)
    workshop = web.Workshop({"a": web.Model(tmp_path, tmp_path)}, web.Limits(100, 5, 5), tmp_path)
    with pytest.raises(web.RefusedError, match="cannot be opened"):
        workshop.segment(str(tmp_path / "clip.mp4"), "a", 0.3, ["masks"])
