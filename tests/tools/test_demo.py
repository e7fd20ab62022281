"""tools/demo.py: from a video to tracks, formats and overlays, whatever happens on the way."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dvis_daq.data.live import LiveStream
from dvis_daq.data.video_io import ImageFiles, VideoWriter, open_frames
from dvis_daq.predictor import VideoPredictor
from dvis_daq.tracks import VideoTracks, read_tracks
from tests.conftest import ROOT
from tests.tools.scripts import load_script
from tests.unit.data.loopback import http, reset, served
from tests.unit.streaming.tiny import tiny_frames, tiny_predictor

demo = load_script("tools/demo.py")

FRAMES = tiny_frames(8)
VPS = ("MODEL.TASK", "vps", "MODEL.MASK_FORMER.TEST.OBJECT_MASK_THRESHOLD", "0.1",
       "MODEL.MASK_FORMER.TEST.OVERLAP_THRESHOLD", "0.1")  # fmt: skip


@pytest.fixture(scope="module")
def daq() -> VideoPredictor:
    return tiny_predictor("DVIS_DAQ_online")


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch, daq: VideoPredictor):
    """The demo gets this predictor, whatever the configuration says."""

    def with_predictor(predictor: VideoPredictor) -> None:
        monkeypatch.setattr(
            VideoPredictor, "from_config", lambda *given, **options: predictor.fork(**options)
        )

    with_predictor(daq)
    return with_predictor


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A folder of frames, without loss."""
    folder = tmp_path / "clip"
    folder.mkdir()
    for t, frame in enumerate(FRAMES):
        cv2.imwrite(str(folder / f"{t}.png"), frame[..., ::-1])
    return folder


def run(source: Path, *more: str, output: str = "out") -> VideoTracks:
    folder = source.parent / output
    arguments = ["--config-file", "x.yaml", "--input", str(source), "--output", str(folder)]
    demo.main([*arguments, "--overlay", "none", "--score", "0", *more])
    assert not (folder / ".job").exists()
    return read_tracks(folder / "tracks.json")


def test_tracks_are_those_of_the_stream(
    clip: Path, use, daq, capsys: pytest.CaptureFixture[str]
) -> None:
    content = run(clip)
    assert (content.video.name, content.video.frames, content.video.fps) == ("clip", 8, None)
    assert (content.video.height, content.video.width) == (40, 56)
    results = list(daq.stream(FRAMES))
    for result in results:
        rows = {i: rle for i, rle in zip(result.ids.tolist(), result.rles, strict=True) if rle}
        assert {track.id: mask for track, mask in content.frame(result.index)} == rows
        for track in content.tracks:
            waits = track.id in result.hidden or result.index in range(track.born, track.stop) and (
                track.mask(result.index) is None)  # fmt: skip
            assert (track.state(result.index) == "hidden") == waits
    last = {i: s for r in results for i, s in zip(r.ids.tolist(), r.scores, strict=True)}
    for track in content.tracks:
        assert track.score == pytest.approx(last[track.id], abs=1e-5)
    assert f"8 frames, {len(content.tracks)} objects" in capsys.readouterr().out


def test_selection_is_by_the_final_class_and_score(clip: Path, use) -> None:
    every = run(clip)
    some = run(clip, "--score", "0.55", "--classes", "square,sky")
    expected = every.select(score=0.55, classes=["square", "sky"]).tracks
    assert some.tracks == expected and 0 < len(expected) < len(every.tracks)


def test_overlays_of_all_kinds(tmp_path: Path, use) -> None:
    with VideoWriter(tmp_path / "clip.mp4", fps=5) as writer:
        for frame in FRAMES:
            writer.write(frame)
    content = run(tmp_path / "clip.mp4", "--overlay", "mp4,gif,frames", "--max-frames", "3")
    assert (content.video.fps, content.video.frames) == (5.0, 3)
    video = open_frames(tmp_path / "out" / "overlay.mp4")
    assert (video.length, video.fps) == (3, 5.0)
    files = open_frames(tmp_path / "out" / "overlay")
    assert isinstance(files, ImageFiles) and files.length == 3
    shape = (240, 336, 3)  # enlarged six times
    assert next(iter(video)).shape == next(iter(files)).shape == shape
    plain = np.stack(list(open_frames(tmp_path / "clip.mp4"))[:3]).repeat(6, 1).repeat(6, 2)
    drawn = np.stack(list(files)).astype(int)
    changed = np.abs(drawn - plain).mean((1, 2, 3))
    assert (changed > 2).all() and changed.max() > 5  # tracks that wait are not drawn
    with Image.open(tmp_path / "out" / "overlay.gif") as gif:
        assert (gif.n_frames, gif.size, gif.info["duration"]) == (3, (336, 240), 200)


def test_formats(clip: Path, use) -> None:
    content = run(clip, "--formats", "coco-rle,youtube-vis,mot,coco-video")
    read = {name: (clip.parent / "out" / name).read_text() for name in
            ("masks.json", "results.json", "mot.txt", "coco_video.json")}  # fmt: skip
    masks = sum(len(list(content.frame(t))) for t in range(8))
    assert sum(map(len, json.loads(read["masks.json"])["frames"])) == masks
    assert len(json.loads(read["results.json"])) == len(content.tracks)
    assert len(json.loads(read["coco_video.json"])["annotations"]) == masks
    assert 0 < len(read["mot.txt"].splitlines()) <= masks


class Interrupting:
    """The same frames, and Ctrl-C after some of them."""

    live, fps = False, None

    def __init__(self, source: ImageFiles, after: int) -> None:
        self.source, self.after, self.length = source, after, source.length

    def attempts(self) -> Iterator[np.ndarray]:
        for t, frame in enumerate(self.source.attempts()):
            if t == self.after:
                raise KeyboardInterrupt
            yield frame


@pytest.mark.parametrize("recipe", ["DVIS_DAQ_online", "DVIS_DAQ_offline"])
@pytest.mark.parametrize("after", [1, 5])
def test_an_interrupted_job_goes_on(
    clip: Path, use, monkeypatch: pytest.MonkeyPatch, recipe: str, after: int
) -> None:
    use(tiny_predictor(recipe))
    options = ("--window", "3", "--window-overlap", "1", "--cuts", "4")
    whole = run(clip, *options, output="whole")
    broken_off = Interrupting(open_frames(clip), after)
    with monkeypatch.context() as patch:
        patch.setattr("dvis_daq.demo.run.open_frames", lambda source: broken_off)
        with pytest.raises(SystemExit) as end:
            run(clip, *options)
    assert end.value.code == 130
    journal = clip.parent / "out" / ".job" / "journal.jsonl"
    with open(journal, "a") as file:  # and half a line of a frame that was not finished
        file.write('{"t": ')
    message = mistake(clip, *options, "--max-frames", "7")
    assert "half-done job with another max_frames" in message and "--restart" in message
    assert run(clip, *options) == whole


def test_restart_forgets_a_half_done_job(clip: Path, use, monkeypatch) -> None:
    broken_off = Interrupting(open_frames(clip), 5)
    with monkeypatch.context() as patch:
        patch.setattr("dvis_daq.demo.run.open_frames", lambda source: broken_off)
        with pytest.raises(SystemExit):
            run(clip)
    assert run(clip, "--restart", "--max-frames", "2").video.frames == 2


def test_broken_frames_are_skipped_and_the_rest_is_kept(
    clip: Path, use, daq, caplog: pytest.LogCaptureFixture
) -> None:
    for t in (0, 3, 7):
        (clip / f"{t}.png").write_bytes(b"no image")
    content = run(clip, "--overlay", "frames", "--draw", "")
    assert [skipped.frame for skipped in content.skipped] == [0, 3, 7]
    assert "3.png" in content.skipped[1].reason and "frame 3 is skipped" in caplog.text
    assert content.video.frames == 8
    rest = [None, *FRAMES[1:3], None, *FRAMES[4:7], None]
    for result in daq.stream(rest):
        rows = {i: rle for i, rle in zip(result.ids.tolist(), result.rles, strict=True) if rle}
        assert {track.id: mask for track, mask in content.frame(result.index)} == rows
    assert list(content.frame(3)) == []
    assert len(list((clip.parent / "out" / "overlay").iterdir())) == 7  # the last picture stays


def test_no_frame_at_all(clip: Path, use) -> None:
    for file in clip.iterdir():
        file.write_bytes(b"no image")
    assert "no frame of the video could be read" in mistake(clip)


def test_cuts_restart_the_tracks(clip: Path, use) -> None:
    content = run(clip, "--cuts", "3,6")
    assert content.cuts == (3, 6)
    for track in content.tracks:
        shots = {sum(t >= cut for cut in (3, 6)) for t in (track.born, track.stop - 1)}
        assert len(shots) == 1
    assert run(clip, "--cuts", "auto").cuts == ()


def test_a_live_source_is_drawn_while_it_runs(tmp_path: Path, use, monkeypatch) -> None:
    path = tmp_path / "clip.ts"
    with VideoWriter(path, fps=5) as writer:
        for frame in FRAMES:
            writer.write(frame)
    stream = LiveStream("door", str(path))
    monkeypatch.setattr("dvis_daq.demo.run.open_frames", lambda source: stream)
    content = run(path, "--overlay", "mp4", "--batch", "3")
    assert (content.video.source, content.video.frames) == ("door", 8)
    assert open_frames(tmp_path / "out" / "overlay.mp4").length == 8


def test_a_dropped_connection_keeps_what_came(
    tmp_path: Path, use, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with VideoWriter(tmp_path / "clip.ts", fps=5) as writer:
        for frame in FRAMES:
            writer.write(frame)
    data = (tmp_path / "clip.ts").read_bytes()
    folder = tmp_path / "out"
    with served(http(data, length=len(data) + 1000, end=reset)) as port:
        url = f"http://me:secret@127.0.0.1:{port}/clip.ts"
        demo.main(["--config-file", "x.yaml", "--input", url, "--output", str(folder)])
    (warning,) = caplog.messages
    assert "/clip.ts: ends after 8 frames, cannot be read on (Connection reset" in warning
    assert capsys.readouterr().out.startswith("8 frames, ") and "secret" not in warning
    assert "secret" not in (folder / "tracks.json").read_text()
    assert open_frames(folder / "overlay.mp4").length == 8 and not (folder / ".job").exists()


@pytest.mark.parametrize("task", ["vps", "vss"])
def test_panoptic_and_semantic(clip: Path, use, task: str) -> None:
    use(tiny_predictor("DVIS_online", *(VPS if task == "vps" else ("MODEL.TASK", "vss"))))
    content = run(clip, "--overlay", "frames", "--formats", "mot,coco-video")
    assert content.task == task and content.tracks
    for t in range(8):
        area = sum(_area(mask) for _, mask in content.frame(t))
        assert area == 40 * 56 if task == "vss" else area <= 40 * 56


def _area(rle: dict) -> int:
    from pycocotools import mask as coco_mask

    return int(coco_mask.area(rle))


@pytest.mark.parametrize(
    "more, message",
    [
        (["--draw", "halo"], "cannot draw 'halo'; choose from masks"),
        (["--classes", "dragon"], "no class 'dragon'; there are disc, square"),
        (["--overlay", "mp4", "--fps", "-1"], "fps must be positive"),
        (["--overlay", "vhs"], "no overlay 'vhs'; there are mp4, gif, frames"),
        (["--formats", "word"], "no format 'word'; there are coco-rle"),
        (["--cuts", "soon"], "cuts are frame numbers, comma-separated, or auto; got 'soon'"),
        (["--cuts", "0"], "a cut lies before frame 1"),
        (["--window", "4", "--window-overlap", "4"], "an overlap of 4 frames does not fit"),
        (["--input", "nowhere.mp4"], "nowhere.mp4: no such folder, video file or glob"),
        (["--input", "63"], "camera 63: cannot be opened"),
        (["--input", "rtsp://u:secret@localhost:1/x"], "rtsp://localhost:1/x: cannot be opened"),
    ],
)
def test_a_mistake_is_one_line(clip: Path, use, more: list[str], message: str) -> None:
    use(tiny_predictor("DVIS_DAQ_offline"))
    assert message in mistake(clip, *more)


def test_missing_config_and_weights(clip: Path) -> None:
    assert "missing.yaml: no such config" in mistake(clip, "--config-file", "missing.yaml")
    config = str(ROOT / "configs" / "synthetic" / "MinVIS.yaml")
    assert "no weights" in mistake(clip, "--config-file", config)


def mistake(clip: Path, *more: str) -> str:
    """The line with which the demo ends; a text exits with status 1."""
    with pytest.raises(SystemExit) as end:
        run(clip, *more)
    assert isinstance(end.value.code, str) and end.value.code.startswith("error: ")
    assert len(end.value.code.splitlines()) == 1
    return end.value.code


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        demo.main(["--help"])
    shown = capsys.readouterr().out
    assert end.value.code == 0
    assert "Examples:" in shown and "Exit codes:" in shown and "--max-frames" in shown
    given = ["--config-file", "x.yaml"]
    for wrong in ([], [*given, "--max-frames", "0"], [*given, "--score", "30"]):
        with pytest.raises(SystemExit) as end:
            demo.main(["--input", "x", "--output", "y", *wrong])
        assert end.value.code == 2


def test_a_mistake_from_the_shell(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tools" / "demo.py"), "--config-file", "x.yaml"]
    command += ["--input", "no", "--output", "out"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("error: no: no such folder")
