"""Scene cuts: found where the colours change at once, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dvis_daq.data.cuts import CutDetector, CutList
from dvis_daq.data.synthetic import Recipe, make_video
from dvis_daq.data.video_io import open_frames


def found(frames: list[np.ndarray]) -> list[int]:
    detector = CutDetector()
    return [t for t, frame in enumerate(frames) if detector(t, frame)]


def test_between_real_clips(real_clips: Path) -> None:
    clips = [list(open_frames(folder)) for folder in sorted((real_clips / "JPEGImages").iterdir())]
    starts = np.cumsum([len(clip) for clip in clips[:-1]]).tolist()
    assert found([frame for clip in clips for frame in clip]) == starts


def test_none_within_a_shot() -> None:
    frames = list(make_video(Recipe(height=96, width=128, frames=12), "val", 0).frames)
    assert found(frames) == []
    darker = [np.uint8(frame * (1 - t / 40)) for t, frame in enumerate(frames)]  # a slow fade
    assert found(darker) == []
    assert found([*frames[:6], *(255 - frame for frame in frames[6:])]) == [6]


def test_given_cuts() -> None:
    cuts = CutList([3, 7])
    assert [t for t in range(9) if cuts(t, np.zeros((2, 2, 3), np.uint8))] == [3, 7]
    with pytest.raises(ValueError, match="before frame 1 or later, got 0"):
        CutList([0, 4])
    with pytest.raises(ValueError, match=r"0..1, got 2"):
        CutDetector(2)
