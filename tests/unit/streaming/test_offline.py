"""Streams of offline models: windows that overlap, each frame spoken of once, ids that persist."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dvis_daq.streaming import VideoState, WindowedMode
from dvis_daq.tasks.vis import encode_tracks
from tests.unit.streaming.test_online import assert_same
from tests.unit.streaming.tiny import tiny_frames, tiny_predictor

FRAMES = tiny_frames(11)
OFFLINE = ("DVIS_DAQ_offline", "DVIS_offline")


@pytest.mark.parametrize("keep", ["False", "True"])
@pytest.mark.parametrize("recipe", OFFLINE)
def test_one_window_is_the_whole_video(recipe: str, keep: str) -> None:
    predictor = tiny_predictor(recipe, "TEST.KEEP_FEATURES", keep, window=20)
    results = list(predictor.stream(FRAMES, batch=4))
    images = predictor._whole(FRAMES)[0]
    whole = predictor.model.predict(images)
    tracks = (whole.ids < results[0].state.tracks.next_id).nonzero().squeeze(1)  # not the chains
    tracks = tracks[whole.ids[tracks].argsort()]
    sizes = predictor.model.sizes({"images": images, "height": 40, "width": 56})
    masks = encode_tracks(whole.masks[tracks], sizes)
    scores = whole.class_scores()[tracks, :-1].amax(1).numpy()
    assert [result.index for result in results] == list(range(11))
    for result in results:
        assert result.ids.tolist() == whole.ids[tracks].tolist()
        assert result.rles == [track[result.index] for track in masks]
        np.testing.assert_allclose(result.scores, scores, rtol=1e-5)


@pytest.mark.parametrize("window, overlap", [(4, 2), (4, 0), (5, 3), (6, 1), (1, 0)])
def test_each_frame_is_spoken_of_once(window: int, overlap: int) -> None:
    predictor = tiny_predictor("DVIS_DAQ_offline", window=window, overlap=overlap)
    results = list(predictor.stream(FRAMES))
    assert [result.index for result in results] == list(range(11))
    assert max(len(result.state.held) for result in results) <= window
    gone: set[int] = set()
    for result in results:
        gone |= set(result.departed)
        assert not gone & set(result.ids.tolist())


def test_ids_and_scores_run_through_the_windows() -> None:
    predictor = tiny_predictor("DVIS_offline", window=4, overlap=2)
    results = list(predictor.stream(FRAMES))
    assert [result.ids.tolist() for result in results] == [[0, 1, 2, 3, 4, 5]] * 11
    scores = np.stack([result.scores for result in results])
    by_window = [3, 2, 2, 2, 2]  # frames that each window speaks of
    starts = np.cumsum([0, *by_window[:-1]])
    assert (scores == np.repeat(scores[starts], by_window, axis=0)).all()
    assert (np.abs(np.diff(scores[starts], axis=0)).max(1) > 0).all()


@pytest.mark.parametrize("pause", [1, 3, 4, 7, 10])
def test_paused_in_a_window(tmp_path: Path, pause: int) -> None:
    predictor = tiny_predictor("DVIS_DAQ_offline", window=5, overlap=2)
    whole = list(predictor.stream(FRAMES))
    stream = predictor.stream(FRAMES)
    for _ in range(pause):
        next(stream)
    predictor.save(tmp_path / "state.safetensors")
    other = predictor.fork()
    state = other.restore(tmp_path / "state.safetensors")
    assert state.frame >= pause == state.spoken
    rest = list(other.stream(FRAMES[state.frame :], state=state))
    assert_same(rest, whole[pause:])


def test_a_cut_flushes_the_window() -> None:
    predictor = tiny_predictor("DVIS_DAQ_offline", window=8, overlap=2)
    results = list(predictor.stream(FRAMES, cut=lambda index, frame: index == 5))
    assert [result.index for result in results] == list(range(11))
    alone = [*predictor.stream(FRAMES[:5]), *predictor.stream(FRAMES[5:])]
    assert [result.rles for result in results] == [result.rles for result in alone]
    assert not set(results[4].ids.tolist()) & set(results[5].ids.tolist())


def test_steps_are_refused() -> None:
    predictor = tiny_predictor("DVIS_DAQ_offline")
    with pytest.raises(ValueError, match=r"use stream\(\), not step\(\)"):
        predictor.step(FRAMES[0])
    with pytest.raises(ValueError, match="an overlap of 5 frames does not fit a window of 5"):
        predictor.fork(window=5, overlap=5)
    assert list(WindowedMode(predictor.model).finish(VideoState())) == []
