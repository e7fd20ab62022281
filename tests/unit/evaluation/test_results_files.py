import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as coco

from dvis_daq.evaluation.results import PartFile, entries_of_video, merge
from tests.unit.metrics.scene import A, B, rle

VIDEO = {"video_id": 3, "length": 2, "height": 12, "width": 16}


def output(masks: object) -> dict[str, Any]:
    return {"scores": torch.tensor([0.5, 0.25]), "labels": torch.tensor([1, 0]), "masks": masks}


def test_tensors_and_run_lengths_give_the_same() -> None:
    masks = torch.zeros(2, 2, 12, 16, dtype=torch.bool)
    masks[0, 0, 0:4, 0:4] = True
    masks[1, 1, 6:10, 8:12] = True
    from_tensor = entries_of_video(VIDEO, output(masks), [7, 9])
    from_rles = entries_of_video(VIDEO, output([[rle(A), None], [None, rle(B)]]), [7, 9])
    assert from_tensor == from_rles
    first, second = from_tensor
    assert (first["video_id"], first["score"], first["category_id"]) == (3, 0.5, 9)
    assert second["category_id"] == 7
    assert first["segmentations"][1] is None  # absent, not an empty mask
    np.testing.assert_array_equal(coco.decode(second["segmentations"][1]), masks[1, 1])
    json.dumps(from_tensor)


def test_no_instances() -> None:
    empty = {"scores": torch.zeros(0), "labels": torch.zeros(0, dtype=torch.int64)}
    masks = torch.zeros(0, 2, 12, 16, dtype=torch.bool)
    assert entries_of_video(VIDEO, {**empty, "masks": masks}, [7]) == []
    assert entries_of_video(VIDEO, {**empty, "masks": []}, [7]) == []


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (torch.zeros(2, 2, 6, 8, dtype=torch.bool) | True, r"\(12, 16\), the masks 2 of \[\(6, 8"),
        (torch.zeros(2, 3, 12, 16, dtype=torch.bool), "2 frames .* the masks 3"),
        (torch.zeros(2, 2, 12, 16), r"bool \(n, T, H, W\), not torch.float32"),
        (torch.zeros(2, 12, 16, dtype=torch.bool), r"\(2, 12, 16\)"),
        ([[None, None]], "zip"),
    ],
)
def test_outputs_that_do_not_fit(masks: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        entries_of_video(VIDEO, output(masks), [7, 9])


def test_a_score_that_is_not_finite() -> None:
    bad = {**output([[None, None]] * 2), "scores": torch.tensor([0.5, torch.nan])}
    with pytest.raises(ValueError, match="video 3 has the score nan"):
        entries_of_video(VIDEO, bad, [7, 9])


def parts(folder: Path, *videos: list[int]) -> list[Path]:
    """A part per process; each video has two entries that tell where they come from."""
    paths = []
    for rank, ids in enumerate(videos):
        part = PartFile(folder / f"part{rank}")
        part.clear()
        for video in ids:
            part.append(video, [{"video_id": video, "rank": rank, "n": n} for n in range(2)])
        paths.append(part.path)
    return paths


def test_the_merged_file_does_not_depend_on_the_processes(tmp_path: Path) -> None:
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    assert merge(parts(tmp_path / "a", [5, 1, 12, 3]), one) == 8
    merge(parts(tmp_path / "b", [12, 1], [3, 5], []), two)
    content = [(entry["video_id"], entry["n"]) for entry in json.loads(one.read_text())]
    assert content == [(video, n) for video in (1, 3, 5, 12) for n in range(2)]
    assert content == [(entry["video_id"], entry["n"]) for entry in json.loads(two.read_text())]


def test_a_video_seen_twice_counts_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    target = tmp_path / "results.json"
    assert merge(parts(tmp_path, [1, 2], [2]), target) == 4
    assert {entry["rank"] for entry in json.loads(target.read_text())} == {0}
    assert "video 2 was processed twice" in caplog.text


def test_nothing_is_an_empty_list(tmp_path: Path) -> None:
    target = tmp_path / "results.json"
    assert merge(parts(tmp_path, [], []), target) == 0
    assert json.loads(target.read_text()) == []


def test_a_missing_part_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "results.json"
    target.write_text("old")
    with pytest.raises(FileNotFoundError, match="shared OUTPUT_DIR"):
        merge([*parts(tmp_path, [1]), tmp_path / "part1"], target)
    assert target.read_text() == "old"


def test_clear_forgets(tmp_path: Path) -> None:
    part = PartFile(tmp_path / "new" / "part")
    part.clear()
    part.append(1, [])
    part.clear()
    assert part.path.read_text() == ""
