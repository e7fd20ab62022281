"""Frame choice: both modes, short videos, stride, order."""

import numpy as np
import pytest

from dvis_daq.data.sampling import ClipSampling, bounce, choose_frames


def draws(length, settings, count=400):
    rng = np.random.default_rng(0)
    return [choose_frames(length, settings, rng) for _ in range(count)]


def test_contiguous_clips_reach_every_window():
    clips = draws(8, ClipSampling(frames=5, range=2))
    assert {tuple(c) for c in clips} == {tuple(range(s, s + 5)) for s in range(4)}


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
def test_short_videos_are_padded_the_same_way_each_time(length):
    clips = draws(length, ClipSampling(frames=5, range=2), 5)
    assert all(c == clips[0] for c in clips)
    assert set(clips[0]) == set(range(length))
    assert max(abs(np.diff(clips[0]))) <= 1


def test_bounce():
    assert bounce(3, 8).tolist() == [0, 1, 2, 1, 0, 1, 2, 1]
    assert bounce(1, 3).tolist() == [0, 0, 0]
    assert bounce(2, 5).tolist() == [0, 1, 0, 1, 0]


def test_one_frame_clips_reach_every_frame():
    for reach in (0, 20):
        clips = draws(6, ClipSampling(frames=1, range=reach))
        assert {c[0] for c in clips} == set(range(6))


def test_reference_mode_is_sorted_near_and_without_repeats():
    for clip in draws(40, ClipSampling(frames=4, range=6)):
        assert clip == sorted(set(clip))
        assert len(clip) == 4
        assert clip[-1] - clip[0] <= 12


def test_reference_mode_repeats_only_where_it_must():
    assert draws(1, ClipSampling(frames=3, range=5), 1) == [[0, 0, 0]]
    for clip in draws(2, ClipSampling(frames=3, range=5), 20):
        assert len(clip) == 3
        assert set(clip) == {0, 1}


def test_stride_is_drawn_once_a_clip_and_fits():
    clips = draws(9, ClipSampling(frames=3, range=1, stride=2))
    assert {tuple(np.diff(c)) for c in clips} == {(1, 1), (2, 2)}
    assert max(c[-1] for c in clips) == 8
    assert {tuple(np.diff(c)) for c in draws(4, ClipSampling(3, 1, stride=5))} == {(1, 1)}


def test_reverse_and_shuffle():
    clips = draws(5, ClipSampling(frames=5, range=2, reverse=True))
    backwards = sum(c == [4, 3, 2, 1, 0] for c in clips)
    assert 150 < backwards < 250
    assert backwards + sum(c == [0, 1, 2, 3, 4] for c in clips) == len(clips)
    shuffled = draws(5, ClipSampling(frames=5, range=2, shuffle=True), 200)
    assert all(sorted(c) == [0, 1, 2, 3, 4] for c in shuffled)
    assert len({tuple(c) for c in shuffled}) > 50


def test_the_generator_decides():
    settings = ClipSampling(frames=5, range=9, reverse=True)
    assert draws(50, settings, 10) == draws(50, settings, 10)


def test_bad_settings():
    with pytest.raises(ValueError, match="frames >= 1"):
        ClipSampling(frames=0, range=1)
