import json
import logging
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.utils import comm

from dvis_daq.evaluation.vis import VISEvaluator
from tests.unit.metrics.scene import A, B, annotations, rle

LATE = [None, A, A]
SIZE = {"length": 3, "height": 12, "width": 16}


@pytest.fixture
def truth() -> dict[str, Any]:
    data = annotations(
        {"boxes": LATE, "category_id": 40}, {"boxes": [B] * 3, "video_id": 2}, length=3, videos=2
    )
    data["categories"] = [{"id": 40, "name": "cat"}, {"id": 1, "name": "dog"}]
    return data


@pytest.fixture
def data_set(truth: dict[str, Any], tmp_path: Path) -> str:
    """Registers it under a fresh name; class 0 is id 1, class 1 is id 40."""
    name = f"evaluator_{tmp_path.name}"
    path = tmp_path / "gt.json"
    path.write_text(json.dumps(truth))
    MetadataCatalog.get(name).set(
        json_file=str(path), thing_dataset_id_to_contiguous_id={40: 1, 1: 0}
    )
    return name


def videos(*ids: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Inputs and perfect outputs."""
    boxes, labels = {1: LATE, 2: [B] * 3}, {1: 1, 2: 0}
    outputs = [
        {
            "scores": torch.tensor([0.5]),
            "labels": torch.tensor([labels[number]]),
            "masks": [[rle(box) for box in boxes[number]]],
        }
        for number in ids
    ]
    return [{"video_id": number, **SIZE} for number in ids], outputs


def test_writes_and_scores(data_set: str, tmp_path: Path) -> None:
    evaluator = VISEvaluator(data_set, output_dir=tmp_path / "out", events=True)
    evaluator.reset()
    for number in (2, 1):
        evaluator.process(*videos(number))
    figures = evaluator.evaluate()
    assert figures["segm"]["AP"] == pytest.approx(100)
    assert figures["segm"]["AP-cat"] == pytest.approx(100)
    assert math.isnan(figures["segm"]["APl"])
    assert figures["events"]["emergence_recall"] == 100
    assert figures["events"]["latency_mean"] == 0
    entries = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [(e["video_id"], e["category_id"]) for e in entries] == [(1, 40), (2, 1)]
    assert entries[0]["segmentations"][0] is None
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["results.json"]


def test_reset_forgets(data_set: str, tmp_path: Path) -> None:
    evaluator = VISEvaluator(data_set, output_dir=tmp_path / "out")
    evaluator.reset()
    evaluator.process(*videos(1, 2))
    evaluator.reset()
    evaluator.process(*videos(1))
    assert evaluator.evaluate()["segm"]["AP"] == pytest.approx(50)


def test_no_output_at_all_scores_zero(data_set: str, tmp_path: Path) -> None:
    evaluator = VISEvaluator(data_set, output_dir=tmp_path / "out")
    evaluator.reset()
    assert evaluator.evaluate()["segm"]["AP"] == 0


def test_two_processes(data_set: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluators, meetings = [], []
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    monkeypatch.setattr(comm, "synchronize", lambda: meetings.append(comm.get_rank()))
    for rank in (0, 1):
        monkeypatch.setattr(comm, "get_rank", lambda rank=rank: rank)
        evaluators.append(VISEvaluator(data_set, output_dir=tmp_path / "out"))
        evaluators[rank].reset()
        evaluators[rank].process(*videos(2 - rank))
    results = []
    for rank in (0, 1):
        monkeypatch.setattr(comm, "get_rank", lambda rank=rank: rank)
        monkeypatch.setattr(comm, "is_main_process", lambda rank=rank: rank == 0)
        results.append(evaluators[rank].evaluate())
    assert results[0]["segm"]["AP"] == pytest.approx(100)
    assert results[1] == {}
    assert meetings == [0, 0, 1, 1]  # as many on each process, whatever it does


@pytest.mark.parametrize("labels", [None, []])
def test_without_labels_it_tells_how_to_submit(
    truth: dict[str, Any],
    data_set: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    labels: object,
) -> None:
    (tmp_path / "gt.json").write_text(json.dumps({**truth, "annotations": labels}))
    evaluator = VISEvaluator(data_set, output_dir=tmp_path / "out")
    evaluator.reset()
    evaluator.process(*videos(1, 2))
    with caplog.at_level(logging.INFO, logger="dvis_daq"):
        assert evaluator.evaluate() == {}
    assert "no annotations" in caplog.text
    assert str(tmp_path / "out" / "results.json") in caplog.text
