"""Frames in and out: order, colours, sizes, and files that are broken."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from dvis_daq.data.decoding import BrokenFrame
from dvis_daq.data.video_io import ImageFiles, VideoFile, VideoWriter, open_frames


def moving_square(frames: int = 8, height: int = 48, width: int = 64) -> np.ndarray:
    """(T, H, W, 3) uint8 RGB: a red square that walks right over blue."""
    video = np.full((frames, height, width, 3), (20, 40, 200), dtype=np.uint8)
    for t in range(frames):
        video[t, 8:24, 4 * t : 4 * t + 16] = (220, 30, 30)
    return video


def write_video(path: Path, frames: np.ndarray, fps: float = 10) -> Path:
    with VideoWriter(path, fps=fps) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def write_images(folder: Path, frames: np.ndarray, names: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, frame in zip(names, frames, strict=True):
        cv2.imwrite(str(folder / name), frame[..., ::-1])
    return folder


def error_of(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b).mean())


def test_folder_in_natural_order(tmp_path: Path) -> None:
    frames = moving_square(3)
    folder = write_images(tmp_path, frames, ["frame2.png", "frame10.png", "frame1.png"])
    (folder / "notes.txt").write_text("no image")
    source = open_frames(folder)
    assert (source.length, source.fps) == (3, None)
    assert np.array_equal(list(source), frames[[2, 0, 1]])
    assert np.array_equal(list(source), frames[[2, 0, 1]])  # and once more


def test_glob(tmp_path: Path) -> None:
    frames = moving_square(3)
    write_images(tmp_path, frames, ["a0.png", "a1.png", "b0.png"])
    assert np.array_equal(list(open_frames(tmp_path / "a*.png")), frames[:2])


@pytest.mark.parametrize("height, width", [(48, 64), (47, 63), (48, 63)])
def test_video_round_trip(tmp_path: Path, height: int, width: int) -> None:
    frames = moving_square(height=height, width=width)
    source = open_frames(write_video(tmp_path / "new" / "clip.mp4", frames, fps=12.5))
    assert isinstance(source, VideoFile)
    assert (source.length, source.fps) == (8, 12.5)
    read = np.stack(list(source))
    assert read.shape == (8, height + height % 2, width + width % 2, 3)
    assert error_of(read[:, :height, :width], frames) < 6  # yuv420p; RGB in, RGB out
    assert [f.name for f in (tmp_path / "new").iterdir()] == ["clip.mp4"]


def test_mpeg4_where_there_is_no_h264(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    path = write_video(tmp_path / "clip.mp4", moving_square())
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
    assert error_of(np.stack(list(open_frames(path))), moving_square()) < 8


def test_rotated_video_is_turned_upright(tmp_path: Path) -> None:
    """Phones store portrait video lying, with a matrix that says how to turn it."""
    identity = bytes.fromhex("00010000" + "0" * 24 + "00010000" + "0" * 24 + "40000000")
    clockwise = bytes.fromhex(
        "000000000001000000000000ffff00000000000000000000" + "0" * 16 + "40000000"
    )
    frames = moving_square(2)
    path = write_video(tmp_path / "clip.mp4", frames)
    movie, track = path.read_bytes().split(identity, 1)  # the movie's matrix, then the track's
    path.write_bytes(movie + identity + track.replace(identity, clockwise, 1))
    read = np.stack(list(open_frames(path)))
    assert read.shape == (2, 64, 48, 3)
    assert error_of(read, np.rot90(frames, -1, axes=(1, 2))) < 6


def test_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", moving_square())
    before = path.read_bytes()
    with pytest.raises(RuntimeError), VideoWriter(path, fps=10) as writer:
        writer.write(moving_square()[0])
        raise RuntimeError
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_writer_errors(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with pytest.raises(ValueError, match="fps must be positive"):
        VideoWriter(path, fps=0)
    with pytest.raises(ValueError, match="no frame was written"), VideoWriter(path, fps=1):
        pass
    sizes = r"clip.mp4: frame is \(40, 64, 3\) uint8, expected \(48, 64, 3\)"
    with pytest.raises(ValueError, match=sizes), VideoWriter(path, fps=1) as writer:
        writer.write(moving_square()[0])
        writer.write(moving_square(height=40)[0])
    with (
        pytest.raises(ValueError, match="clip.xyz: cannot be written as a video"),
        VideoWriter(tmp_path / "clip.xyz", fps=1),
    ):
        pass
    thin = np.zeros((2, 20_000, 3), dtype=np.uint8)
    with (
        pytest.raises(ValueError, match="clip.mp4: 20000 x 2 pixels cannot be encoded"),
        VideoWriter(path, fps=1) as writer,
    ):
        writer.write(thin)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name, message",
    [("absent", "no such folder"), ("empty", "no images"), ("text.mp4", "is no readable video")],
)
def test_nothing_to_read(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(ValueError, match=f"{name}.*{message}"):
        open_frames(tmp_path / name)


def test_broken_image_is_named(tmp_path: Path) -> None:
    folder = write_images(tmp_path, moving_square(3), ["0.jpg", "1.jpg", "2.jpg"])
    data = (folder / "1.jpg").read_bytes()
    (folder / "1.jpg").write_bytes(data[:100])
    with pytest.raises(ValueError, match="1.jpg"):
        list(open_frames(folder))


def test_images_of_two_sizes(tmp_path: Path) -> None:
    write_images(tmp_path, moving_square(1), ["0.png"])
    write_images(tmp_path, moving_square(1, height=40), ["1.png"])
    with pytest.raises(ValueError, match=r"1.png: is 64 x 40 pixels, the first frame 64 x 48"):
        list(ImageFiles((tmp_path / "0.png", tmp_path / "1.png")))


def test_cut_video_is_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (12, 64, 64, 3), dtype=np.uint8)
    path = write_video(tmp_path / "clip.mp4", noise)
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"clip.mp4: frame \d+ cannot be decoded"):
        list(open_frames(path))


def test_attempts_tell_of_broken_images_and_go_on(tmp_path: Path) -> None:
    names = ["0.jpg", "1.jpg", "2.jpg", "3.png"]
    folder = write_images(tmp_path, moving_square(4), names)
    (folder / "1.jpg").write_bytes((folder / "1.jpg").read_bytes()[:100])
    write_images(folder, moving_square(1, height=40), ["2.jpg"])
    first, broken, odd, last = open_frames(folder).attempts()
    assert isinstance(broken, BrokenFrame) and "1.jpg" in broken.reason
    assert isinstance(odd, BrokenFrame) and "64 x 40" in odd.reason
    assert np.array_equal(last, moving_square(4)[3]) and isinstance(first, np.ndarray)


def test_attempts_tell_of_broken_packets_and_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    path = write_video(tmp_path / "clip.mp4", moving_square())
    with av.open(str(path)) as container:
        packet = bytes([*container.demux(video=0)][1])
    path.write_bytes(path.read_bytes().replace(packet, bytes(len(packet))))
    broken = [isinstance(frame, BrokenFrame) for frame in open_frames(path).attempts()]
    assert broken == [False, True, *[False] * 6]


def test_attempts_tell_of_frames_of_another_size(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.ts", moving_square(4))
    other = write_video(tmp_path / "b.ts", moving_square(4, height=40))
    path.write_bytes(path.read_bytes() + other.read_bytes() + path.read_bytes())
    read = list(open_frames(path).attempts())
    broken = [frame.reason for frame in read if isinstance(frame, BrokenFrame)]
    assert len(read) - len(broken) == 8
    assert "is 64 x 40 pixels, the first frame 64 x 48" in broken


def test_a_video_can_be_played_while_it_is_loaded(tmp_path: Path) -> None:
    data = write_video(tmp_path / "clip.mp4", moving_square()).read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
