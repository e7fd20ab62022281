"""A clip as data, and where clips come from."""

from __future__ import annotations

import base64
from pathlib import Path

import cv2
import numpy as np
import pytest

from dvis_daq.metrics.reading import read_ground_truth, read_results
from dvis_daq.report.clips import ClipView, clip_data, predictions_of
from dvis_daq.report.json_text import as_json
from dvis_daq.report.sources import (
    frames_of,
    read_video_files,
    spread,
    tracks_from_results,
    videos_by_name,
)
from dvis_daq.tracks import read_tracks
from tests.unit.report.scene import EVIL, FRAMES, SIZE, content, pictures, truth, write


def test_all_of_a_clip() -> None:
    made = clip_data(ClipView(content(), pictures(), truth()), budget=1_000_000)
    assert (made["frames"], made["maskHeight"], made["maskWidth"], made["fps"]) == (10, *SIZE, 5.0)
    jpeg = np.frombuffer(base64.b64decode(made["pictures"][3]), np.uint8)
    assert abs(int(cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE)[90, 5]) - 93) < 4
    second = made["tracks"][1]
    assert second["events"] == [("born", 3), ("hidden", 5), ("back", 7), ("gone", 9)]
    assert [mask is None for mask in second["masks"]] == [False, False, True, True, False, False]
    found = made["truth"]
    assert [one["track"] for one in found["objects"]] == [1, 2, None]
    assert [one["missed"] for one in found["objects"]] == [False, False, True]
    assert found["unmatched"] == [5] and found["video"] == 7


def test_without_ground_truth_and_frame_rate() -> None:
    assert clip_data(ClipView(content(), pictures()), budget=1_000_000)["truth"] is None


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(ValueError, match="tracks alone take"):
        clip_data(ClipView(content(), pictures()), budget=100)
    with pytest.raises(ValueError, match="9 frames were read, the tracks have 10"):
        clip_data(ClipView(content(), pictures()[:-1]), budget=1_000_000)


def test_budget_holds_for_the_whole_clip() -> None:
    made = clip_data(ClipView(content(), pictures(), truth()), budget=14_000)
    assert 9_000 < len(as_json([made["tracks"], made["truth"], made["pictures"]])) <= 14_100


def test_tracks_of_a_foreign_class_match_nothing(tmp_path: Path) -> None:
    made = content()
    foreign = truth()
    foreign.categories[1] = "cat"  # no "disc" any more
    assert [p.index for p in predictions_of(made, foreign)] == [1]
    data = clip_data(ClipView(made, pictures(), foreign), budget=1_000_000)
    assert data["truth"]["unmatched"] == [1, 5]


def test_another_video_is_refused() -> None:
    with pytest.raises(ValueError, match="has 10 frames of 96 x 128, the tracks 10 of 96 x 64"):
        made = content()
        other = type(made.video)("clip", "clip", 96, 64, None, FRAMES)
        predictions_of(type(made)(other, made.tracks), truth())


def test_from_files(tmp_path: Path) -> None:
    paths = write(tmp_path)
    assert videos_by_name(["clip"], paths["gt"]) == [7]
    with pytest.raises(ValueError, match="0 videos have their frames in a folder 'other'"):
        videos_by_name(["other"], paths["gt"])
    made = read_tracks(paths["tracks"])
    assert len(list(frames_of(made))) == FRAMES
    with pytest.raises(ValueError, match="name the frames of the tracks with --input"):
        frames_of(content("nowhere.mp4"))
    with pytest.raises(ValueError, match="is live, its frames are gone"):
        frames_of(content("rtsp://127.0.0.1:9/door"))


def test_a_broken_frame_leaves_the_one_before_it(tmp_path: Path) -> None:
    paths = write(tmp_path)
    (paths["images"] / "clip" / "00004.jpg").write_bytes(b"broken")
    made = read_tracks(paths["tracks"])
    found = clip_data(ClipView(made, frames_of(made)), budget=1_000_000)
    assert [n for n, picture in enumerate(found["pictures"]) if picture is None] == [4]


def test_results_become_tracks(tmp_path: Path) -> None:
    paths = write(tmp_path)
    gt = read_ground_truth(paths["gt"])
    found = read_results(paths["results"], gt)
    files = read_video_files(paths["gt"])[7]
    made = tracks_from_results(found, gt, files, images=paths["images"], score=0.3)
    assert [(t.id, t.name, t.born, t.states) for t in made.tracks] == [
        (1, "disc", 0, "v" * 10),
        (2, EVIL, 3, "vvhhvv"),
        (3, "disc", 6, "vvvv"),
    ]
    assert [t.mask(8) for t in made.tracks] == [t.mask(8) for t in content().tracks]
    high = tracks_from_results(found, gt, files, images=paths["images"], score=0.5)
    assert [t.id for t in high.tracks] == [1, 2]


def test_spread() -> None:
    assert spread(range(100), 3) == [0, 50, 99]  # half to even
    assert spread([4, 5], 6) == [4, 5] and spread([4, 5, 6], 1) == [4]
