"""kill -9 at random moments of tools/demo.py, and on with the same command."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from dvis_daq.checkpoint import write_weights
from dvis_daq.data.video_io import VideoWriter, open_frames
from dvis_daq.demo.journal import Journal
from dvis_daq.streaming import read_state
from tests.conftest import ROOT
from tests.unit.streaming.tiny import SIZES, tiny_frames, tiny_predictor

FRAMES = 60
FORMATS = "coco-rle,youtube-vis,mot,coco-video"


def write_folder(path: Path, frames: list[np.ndarray]) -> None:
    path.mkdir()
    for t, frame in enumerate(frames):
        cv2.imwrite(str(path / f"{t}.png"), frame[..., ::-1])


def write_file(path: Path, frames: list[np.ndarray]) -> None:
    with VideoWriter(path, fps=10) as writer:
        for frame in frames:
            writer.write(frame)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random ones that make tracks come, hide and go."""
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    write_weights(path, tiny_predictor("DVIS_DAQ_online").model.float().state_dict())
    return path


def command(source: Path, output: Path, weights: Path) -> list[str]:
    config = ROOT / "configs" / "synthetic" / "DVIS_DAQ_online.yaml"
    return [sys.executable, str(ROOT / "tools" / "demo.py"), "--config-file", str(config),
            "--weights", str(weights), "--input", str(source), "--output", str(output),
            "--score", "0", "--overlay", "mp4,gif,frames", "--formats", FORMATS, "--cuts", "auto",
            "--save-every", "0.05", *SIZES, "INPUT.MIN_SIZE_TEST", "32"]  # fmt: skip


def written(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def lines(output: Path) -> int:
    """Frames in the journal of a job; 0 before it has one."""
    journal = output / ".job" / "journal.jsonl"
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def killed_at(process: subprocess.Popen, reached: Callable[[], bool], rng: random.Random) -> bool:
    """Kills a running job a little after the moment; False if it was done before."""
    while not reached() and process.poll() is None:
        time.sleep(0.002)
    time.sleep(rng.random() * 0.05)
    os.kill(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("name, write", [("frames", write_folder), ("clip.mp4", write_file)])
def test_a_killed_demo_goes_on(
    tmp_path: Path,
    weights: Path,
    tally: Callable[..., None],
    name: str,
    write: Callable[[Path, list[np.ndarray]], None],
) -> None:
    """Killed while it segments, again and again, then while it draws; all files are the same."""
    source, whole, output = tmp_path / name, tmp_path / "whole", tmp_path / "killed"
    write(source, tiny_frames(FRAMES))
    subprocess.run(command(source, whole, weights), capture_output=True, check=True)

    rng, kills, again = random.Random(name), 0, 0
    for share in (0.3, 0.7):
        before = lines(output)
        with open(tmp_path / "log", "w") as log:
            process = subprocess.Popen(command(source, output, weights), stderr=log)
        goal = before + 1 + int(share * (FRAMES - before))
        assert killed_at(process, lambda goal=goal: lines(output) >= goal, rng)
        kills += 1
        again = max(again, lines(output) - done_of(output))
        assert done_of(output) > 0 and not (output / "tracks.json").exists()
    process = subprocess.Popen(command(source, output, weights), stderr=subprocess.DEVNULL)
    drawing = output / "overlay" / "000001.jpg"
    assert killed_at(process, drawing.exists, rng)

    last = subprocess.run(command(source, output, weights), capture_output=True, text=True)
    assert last.returncode == 0, last.stderr
    found, expected = written(output), written(whole)
    assert sorted(found) == sorted(expected) and len(expected) == 7 + FRAMES
    assert [file for file, data in expected.items() if found[file] != data] in ([], ["overlay.mp4"])
    videos = [np.stack(list(open_frames(folder / "overlay.mp4"))) for folder in (whole, output)]
    assert np.abs(np.subtract(*videos, dtype=int)).mean() < 1  # x264 differs from run to run
    tally(f"kill -9 in a demo ({name})", kills + 1, kills + 1, f"at most {again} frames again")


def done_of(output: Path) -> int:
    """The frame from which the job will go on."""
    return read_state(output / ".job" / "state.safetensors").spoken


def test_no_job_goes_on_from_one_that_is_done(tmp_path: Path) -> None:
    """Killed while its diary is being removed: what is left is not taken for another job's."""
    journal = Journal(tmp_path / ".job", {"input": "a"})
    journal.state_file.touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda folder: (folder / "job.json").unlink())
        journal.remove()
    assert not journal.state_file.exists() and journal.lines_file.exists()
    Journal(tmp_path / ".job", {"input": "b"}).close()
