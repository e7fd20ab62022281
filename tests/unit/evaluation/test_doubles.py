"""Second tracks of one object are found by their pixels, within a video and class."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from dvis_daq.evaluation.doubles import without_doubles
from dvis_daq.tasks.vis import encode
from tests.tools.scripts import load_script


def entry(score: float, columns: tuple[int, int], *, video: int = 1, category: int = 1) -> dict:
    """A track over two frames of 4 x 10 pixels; it is absent in the second."""
    masks = torch.zeros(2, 4, 10, dtype=torch.bool)
    masks[0, :, columns[0] : columns[1]] = True
    return {
        "video_id": video,
        "category_id": category,
        "score": score,
        "segmentations": encode(masks),
    }


def test_the_better_one_stays() -> None:
    worse, better = entry(0.3, (0, 8)), entry(0.9, (0, 9))
    assert without_doubles([worse, better], 0.7) == [better]
    assert without_doubles([worse, better], 1.0) == [better, worse]  # none shares more than all


def test_a_part_of_a_larger_one_is_a_double() -> None:
    small, large = entry(0.3, (0, 2)), entry(0.9, (0, 10))
    assert without_doubles([small, large], 0.7) == [large]
    half = entry(0.3, (8, 10)), entry(0.9, (0, 9))
    assert without_doubles(half, 0.7) == [half[1], half[0]]
    assert without_doubles(half, 0.4) == [half[1]]


def test_another_video_or_class_is_no_double() -> None:
    same = [entry(0.9, (0, 5)), entry(0.8, (0, 5), video=2), entry(0.7, (0, 5), category=2)]
    kept = without_doubles(same, 0.1)
    assert sorted(one["score"] for one in kept) == [0.7, 0.8, 0.9]


def test_a_track_that_was_left_out_suppresses_nothing() -> None:
    chain = [entry(0.9, (0, 4)), entry(0.8, (2, 6)), entry(0.7, (4, 8))]
    assert without_doubles(chain, 0.4) == [chain[0], chain[2]]


def test_an_empty_track_stays() -> None:
    empty, full = entry(0.1, (0, 0)), entry(0.9, (0, 9))
    assert without_doubles([empty, full], 0.5) == [full, empty]


def test_as_a_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file, out = tmp_path / "results.json", tmp_path / "out.json"
    file.write_text(json.dumps([entry(0.3, (0, 8)), entry(0.9, (0, 9))]))
    tool = load_script("tools/without_doubles.py")
    tool.main(["--results", str(file), "--output", str(out)])
    assert [one["score"] for one in json.loads(out.read_text())] == [0.9]
    assert "1 of 2 tracks kept" in capsys.readouterr().out
    file.write_text("[")
    with pytest.raises(SystemExit, match=r"error: .*results\.json: Expecting value"):
        tool.main(["--results", str(file), "--output", str(out)])
    with pytest.raises(SystemExit):
        tool.main(["--results", str(file), "--output", str(out), "--overlap", "2"])
    assert "--overlap must be between 0 and 1" in capsys.readouterr().err
