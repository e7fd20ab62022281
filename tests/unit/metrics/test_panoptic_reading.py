import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dvis_daq.metrics.panoptic_reading import (
    has_segments,
    read_panoptic_results,
    read_panoptic_truth,
)
from dvis_daq.metrics.segment_counts import class_indices, count_segments
from tests.unit.metrics.panoptic_scene import segments_of, write_png, write_results, write_truth


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path, Path]:
    """gt.json, its masks, pred.json, its masks; perfect results of one video of two frames."""
    ids = np.zeros((2, 6, 8), np.int64)
    ids[:, :3], ids[1, 4:] = 7, 9
    listed = {"a": [segments_of(frame, {7: 2, 9: 5}) for frame in ids]}
    return *write_truth(tmp_path, {"a": ids}, listed), *write_results(tmp_path, {"a": ids}, listed)


def change(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def read(files: tuple[Path, Path, Path, Path]) -> None:
    truth = read_panoptic_truth(*files[:2])
    results = read_panoptic_results(*files[2:], truth)
    for video, frames in truth.videos.items():
        count_segments(video, results[video], frames, class_indices(list(truth.categories)))


def test_frames_are_paired_by_name(files: tuple[Path, Path, Path, Path]) -> None:
    change(files[2], lambda c: c["annotations"][0]["annotations"].reverse())
    truth = read_panoptic_truth(*files[:2])
    frames = read_panoptic_results(*files[2:], truth)["a"]
    assert [len(frame.segments) for frame in frames] == [1, 2]
    assert truth.sizes == {"a": ((6, 8), (6, 8))}


def _segment(content: dict[str, Any]) -> dict[str, Any]:
    return content["annotations"][0]["annotations"][1]["segments_info"][0]


FAULTS = {
    "lacks 1 of 1 videos": lambda c: c["annotations"].clear(),
    "is of video 'b', which the ground truth": lambda c: c["annotations"][0].update(video_id="b"),
    "lacks the frame '001'": lambda c: c["annotations"][0]["annotations"].pop(),
    "has a frame '009'": lambda c: c["annotations"][0]["annotations"].append(
        {"file_name": "009.png", "segments_info": []}
    ),
    "repeats '001'": lambda c: c["annotations"][0]["annotations"].append(
        c["annotations"][0]["annotations"][1]
    ),
    "category_id 3": lambda c: _segment(c).update(category_id=3),
    "integer 'category_id'": lambda c: _segment(c).update(category_id=None),
    "has the id 0": lambda c: _segment(c).update(id=0),
    "has the area nan": lambda c: _segment(c).update(area=float("nan")),
    "pixels of the id 7, which the json does not list": lambda c: _segment(c).update(id=8),
    "no pixel of the id 8": lambda c: c["annotations"][0]["annotations"][0]["segments_info"].append(
        {"id": 8, "category_id": 2}
    ),
    "needs a list 'annotations'": lambda c: c.pop("annotations"),
}


@pytest.mark.parametrize("message", FAULTS)
def test_faulty_results(files: tuple[Path, Path, Path, Path], message: str) -> None:
    change(files[2], FAULTS[message])
    with pytest.raises(ValueError, match=message) as error:
        read(files)
    assert "\n" not in str(error.value)


def test_other_size(files: tuple[Path, Path, Path, Path]) -> None:
    write_png(files[3] / "a" / "000.png", np.full((3, 4), 7))
    with pytest.raises(ValueError, match=r"\(3, 4\), the ground truth .* \(6, 8\)"):
        read(files)


def test_truth_whose_json_lacks_a_segment(files: tuple[Path, Path, Path, Path]) -> None:
    change(files[0], lambda c: c["annotations"][0]["annotations"][1]["segments_info"].pop())
    with pytest.raises(ValueError, match=r"masks.*001\.png has pixels of the id 9"):
        read(files)


def test_a_test_split(files: tuple[Path, Path, Path, Path]) -> None:
    def empty(content: dict[str, Any]) -> None:
        for frame in content["annotations"][0]["annotations"]:
            frame["segments_info"] = []

    assert has_segments(files[0])
    change(files[0], empty)
    assert not has_segments(files[0])
    with pytest.raises(ValueError, match="lists no segments"):
        read(files)
    truth = read_panoptic_truth(*files[:2], labelled=False)
    assert truth.names == {"a": ("000", "001")}


def test_restriction(files: tuple[Path, Path, Path, Path]) -> None:
    truth = read_panoptic_truth(*files[:2])
    assert list(truth.restrict(["a"]).videos) == ["a"]
    with pytest.raises(ValueError, match=r"no videos with the ids \['b'\]"):
        truth.restrict(["a", "b"])
    with pytest.raises(ValueError, match="at least one"):
        truth.restrict([])
