"""docs/streaming.md: its Python runs, from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dvis_daq.predictor import VideoPredictor
from dvis_daq.tracks import Video, VideoTracks, write_tracks
from tests.conftest import ROOT
from tests.unit.streaming.tiny import tiny_frames, tiny_predictor

PAGE = ROOT / "docs" / "streaming.md"


def test_python_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = tiny_predictor("DVIS_DAQ_online")
    predictor.class_names = ("person", "car", "sky", "grass")
    monkeypatch.setattr(VideoPredictor, "from_config", lambda *given: predictor)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "output" / "street").mkdir(parents=True)
    content = VideoTracks(Video("street", "street.mp4", 4, 4, None, 1), ())
    write_tracks("output/street/tracks.json", content)
    names = {"frames": tiny_frames()}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    assert len(blocks) == 5
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert names["again"].index == 2 and names["left"].save().frame == 8
