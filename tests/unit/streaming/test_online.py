"""Streams of online models: as the whole video, however they are paused, cut and interleaved."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dvis_daq.streaming import FrameResult, VideoState, read_state, write_state
from dvis_daq.streaming.online import limited
from dvis_daq.tasks.vis import RLE, encode, encode_tracks
from dvis_daq.tracker.appearance import AppearanceMemory
from dvis_daq.tracker.bank import LogitMeans
from dvis_daq.tracker.pooling import BestScores
from dvis_daq.tracker.state import TrackState
from tests.conftest import ROOT
from tests.unit.streaming.tiny import NAMES, tiny_frames, tiny_predictor

FRAMES = tiny_frames()
ONLINE = ("MinVIS", "DVIS_online", "DVIS_DAQ_online", "GenVIS", "GenVIS_DAQ")


@pytest.fixture(scope="module")
def daq():
    return tiny_predictor("DVIS_DAQ_online")


def facts(result: FrameResult) -> tuple:
    """All of a result that must not depend on how the stream was driven."""
    events = (result.new, result.returned, result.departed, result.hidden)
    return result.index, result.ids.tolist(), result.labels.tolist(), events, result.rles


def assert_same(some: list[FrameResult], others: list[FrameResult]) -> None:
    assert [facts(result) for result in some] == [facts(result) for result in others]
    for one, other in zip(some, others, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, rtol=1e-5)


@pytest.mark.parametrize("recipe", ONLINE)
@pytest.mark.parametrize("batch", [1, 3])
def test_streamed_and_whole_video_agree(recipe: str, batch: int) -> None:
    predictor = tiny_predictor(recipe)
    masks: dict[int, list[RLE | None]] = {}
    scores: dict[int, float] = {}
    for result in predictor.stream(FRAMES, batch=batch):
        for n, track in enumerate(result.ids.tolist()):
            masks.setdefault(track, [None] * len(FRAMES))[result.index] = result.rles[n]
            scores[track] = result.scores[n]
    images = predictor._whole(FRAMES)[0]
    whole = predictor.model.predict(images)
    sizes = predictor.model.sizes({"images": images, "height": 40, "width": 56})
    assert whole.ids.tolist() == sorted(masks)
    assert encode_tracks(whole.masks, sizes) == [masks[track] for track in sorted(masks)]
    best = whole.class_scores()[:, :-1].amax(1).numpy()
    np.testing.assert_allclose(
        [scores[track] for track in sorted(scores)], best, rtol=1e-3
    )  # sums of another batch


def test_life_of_the_tracks(daq) -> None:
    results = list(daq.stream(FRAMES))
    assert [result.index for result in results] == list(range(8))
    for event in ("hidden", "returned", "departed"):
        assert any(getattr(result, event) for result in results), event
    living: set[int] = set()
    gone: set[int] = set()
    for result in results:
        assert not living & set(result.new) and not gone & set(result.new)
        assert set(result.departed) <= living
        gone |= set(result.departed)
        living = (living - gone) | set(result.new)
        assert living == set(result.ids.tolist())
        assert set(result.continued) == living - set(result.new)


def test_masks_in_three_forms(daq) -> None:
    result = next(daq.stream(FRAMES))
    assert result.masks.shape == (len(result), 40, 56) and result.masks.dtype == bool
    for mask, rle, polygons, box in zip(
        result.masks, result.rles, result.polygons, result.boxes, strict=True
    ):
        assert [rle] == encode(torch.from_numpy(mask)[None])
        points = np.concatenate(polygons)
        y, x = np.nonzero(mask)
        assert [x.min(), y.min(), x.max(), y.max()] == box.tolist()
        assert points.min(0).tolist() == [x.min(), y.min()]
    detections = result.to_supervision()
    assert detections.tracker_id.tolist() == result.ids.tolist()
    assert (detections.mask == result.masks).all()
    with pytest.raises(ValueError, match="MODEL.TASK vps or vss"):
        _ = result.class_map


@pytest.mark.parametrize("pause", [1, 4, 7])
def test_a_paused_video_goes_on_in_a_file(daq, tmp_path: Path, pause: int) -> None:
    whole = list(daq.stream(FRAMES))
    list(daq.stream(FRAMES[:pause]))
    assert daq.save(tmp_path / "state.safetensors").frame == pause
    other = daq.fork()
    state = other.restore(tmp_path / "state.safetensors")
    assert_same(list(other.stream(FRAMES[pause:], state=state)), whole[pause:])
    other.restore(tmp_path / "state.safetensors")
    assert_same([other.step(frame) for frame in FRAMES[pause:]], whole[pause:])


@pytest.mark.parametrize("pause", [4, 6])
def test_paused_within_a_clip(tmp_path: Path, pause: int) -> None:
    genvis = tiny_predictor("GenVIS")
    whole = list(genvis.stream(FRAMES))
    stream = genvis.stream(FRAMES)
    for _ in range(pause):
        next(stream)
    genvis.save(tmp_path / "state.safetensors")
    state = genvis.fork().restore(tmp_path / "state.safetensors")
    assert state.frame == pause // 3 * 3 <= pause == state.spoken  # its frames come again
    assert_same(list(genvis.stream(FRAMES[state.frame :], state=state)), whole[pause:])
    with pytest.raises(ValueError, match=r"use stream\(\), not step\(\)"):
        genvis.step(FRAMES[0])


def test_a_state_is_a_value(daq) -> None:
    whole = list(daq.stream(FRAMES))
    for pause in (5, 2):  # backwards, from results kept all along
        again = list(daq.stream(FRAMES[pause:], state=whole[pause - 1].state))
        assert_same(again, whole[pause:])


def test_interleaved_videos_do_not_see_each_other(daq) -> None:
    videos = [FRAMES, tiny_frames(seed=1), FRAMES[::-1]]
    alone = [list(daq.stream(video)) for video in videos]
    forks = [daq.fork() for _ in videos]
    together = [[fork.step(video[t]) for fork, video in zip(forks, videos, strict=True)]
                for t in range(8)]  # fmt: skip
    for n, expected in enumerate(alone):
        assert_same([row[n] for row in together], expected)
    streams = [daq.stream(video) for video in videos]  # even of one and the same predictor
    for n, row in enumerate(zip(*streams, strict=True)):
        for result, expected in zip(row, alone, strict=True):
            assert facts(result) == facts(expected[n])


def test_a_cut_ends_all_tracks_and_ids_go_on(daq) -> None:
    results = list(daq.stream(FRAMES, cut=lambda index, frame: index == 5))
    before, after = results[:5], results[5:]
    last = max(track for result in before for track in result.ids.tolist())
    assert min(after[0].ids) > last and after[0].continued == ()
    assert set(after[0].departed) == set(before[-1].ids.tolist())
    fresh = list(daq.stream(FRAMES[5:]))
    for result, expected in zip(after, fresh, strict=True):
        assert [i - last - 1 for i in result.ids.tolist()] == expected.ids.tolist()
        assert result.rles == expected.rles


def test_a_lost_frame_keeps_its_number(daq) -> None:
    results = list(daq.stream([*FRAMES[:3], None, *FRAMES[3:]], batch=2))
    assert [result.index for result in results] == [0, 1, 2, 4, 5, 6, 7, 8]
    for result, expected in zip(results, daq.stream(FRAMES), strict=True):
        assert facts(result)[1:] == facts(expected)[1:]


def test_only_what_is_asked_for(daq) -> None:
    every = list(daq.stream(FRAMES))
    some = list(daq.fork(score=0.55, classes=("square", "sky")).stream(FRAMES))
    shown: set[int] = set()
    for result, all_of_it in zip(some, every, strict=True):
        keep = (all_of_it.scores >= 0.55) & np.isin(all_of_it.labels, [1, 2])
        assert result.ids.tolist() == all_of_it.ids[keep].tolist()
        assert set(result.names) <= {"square", "sky"}
        assert set(result.new) == set(result.ids.tolist()) - shown
        shown |= set(result.ids.tolist())
    assert 0 < sum(map(len, some)) < sum(map(len, every))


def test_a_ceiling_of_tracks(daq) -> None:
    results = list(daq.fork(max_tracks=7).stream(FRAMES))
    assert max(len(result.state.tracks) for result in results) == 7
    width, window, classes = 32, 9, 5  # the ceiling that docs/streaming.md states
    a_track = 8 * (width * (2 + window) + classes) + 8 * 5  # float64 here
    assert max(result.state.bytes() for result in results) <= 7 * a_track
    free = list(daq.fork(max_tracks=None).stream(FRAMES))
    assert max(len(result.state.tracks) for result in free) > 9


def test_the_ceiling_keeps_the_best_scores_as_they_are_told() -> None:
    """Of GenVIS those are the best of any frame, not those of the mean logits."""
    tracks = TrackState.start(torch.zeros(0, 4), torch.zeros(0, 4), window=1)
    steady_and_once = torch.tensor([[1.0, 0.0], [5.0, 0.0]]), torch.tensor([[1.0, 0.0], [-5.0, 0]])
    ids = torch.arange(2)
    appearance = AppearanceMemory.start(torch.zeros(2, 4), 1)
    tracks = replace(tracks, ids=ids, queries=torch.zeros(2, 4), appearance=appearance, missed=ids)
    for pooled, kept in ((LogitMeans, 0), (BestScores, 1)):
        found = pooled.start(ids, steady_and_once[0])
        for logits in steady_and_once:
            found = found.add(ids, logits)
        assert limited(tracks, found, 1).ids.tolist() == [kept]
        assert limited(tracks, found, 2) is tracks


@pytest.mark.parametrize(
    "frame, message",
    [
        (np.zeros((40, 56), np.uint8), r"frame 1 is \(40, 56\) uint8; need \(H, W, 3\)"),
        (np.zeros((40, 56, 3)), "float64"),
        (np.zeros((42, 56, 3), np.uint8), "42 x 56 pixels, the first one 40 x 56"),
    ],
)
def test_wrong_frames(daq, frame: np.ndarray, message: str) -> None:
    daq.restore(None)
    daq.step(FRAMES[0])
    with pytest.raises(ValueError, match=message):
        daq.step(frame)
    assert daq.save().frame == 1  # and the video may go on


def test_wrong_options(daq, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"no class 'cat'; there are {', '.join(NAMES)}"):
        daq.fork(classes=["cat"])
    torch.save({"model": {"x": torch.ones(1)}}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"weights.pth: no state of a video; .*save\(\)"):
        daq.restore(tmp_path / "weights.pth")
    with pytest.raises(FileNotFoundError):
        read_state(tmp_path / "none.safetensors")


def test_a_state_before_the_first_frame_can_be_written(tmp_path: Path) -> None:
    write_state(tmp_path / "start.safetensors", VideoState())
    assert read_state(tmp_path / "start.safetensors") == VideoState()


def growth(early: int, late: int) -> dict[str, float]:
    """What `flat.py` says, in a process of its own."""
    module = "tests.unit.streaming.flat"
    command = [sys.executable, "-W", "ignore", "-m", module, str(early), str(late)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def test_memory_is_flat() -> None:
    found = growth(60, 240)
    assert found["memory"] < 1.02 and found["state"] <= 1.05
    assert found["latency_in_turns"] < 1.2


@pytest.mark.slow
def test_memory_and_latency_are_flat_over_10000_frames() -> None:
    found = growth(500, 10000)
    assert found["memory"] < 1.02 and found["state"] <= 1.05
    assert found["latency"] < 1.2 and found["latency_in_turns"] < 1.05
