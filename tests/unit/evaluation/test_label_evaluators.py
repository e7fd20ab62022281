"""Perfect outputs of the task heads, written and scored: colours, ids, labels, and the figures."""

import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from PIL import Image

from dvis_daq.evaluation.files import ResultFiles
from dvis_daq.evaluation.labels import LabelEvaluator
from dvis_daq.evaluation.pictures import PALETTE, segment_colors
from dvis_daq.evaluation.vos import VOSEvaluator
from dvis_daq.evaluation.vps import VPSEvaluator
from dvis_daq.evaluation.vss import VSSEvaluator
from dvis_daq.metrics.label_images import read_labels, read_segment_ids
from tests.unit.metrics.panoptic_scene import CATEGORIES, segments_of, write_truth

THINGS_FIRST = [CATEGORIES[1], CATEGORIES[2], CATEGORIES[0]]  # class index 0, 1, 2
INDEX = {5: 0, 9: 1, 2: 2}
FRAMES = [f"{t:03d}" for t in range(9)]


def scene() -> np.ndarray:
    """(9, 12, 16): sky 1, two cars 2 and 3, a dog 4 that leaves, and void."""
    ids = np.zeros((9, 12, 16), np.int64)
    ids[:, :4] = 1
    ids[:, 5:9, 1:5], ids[:, 5:9, 8:12], ids[:5, 9:, 3:9] = 2, 3, 4
    return ids


CLASS_OF = {1: 2, 2: 5, 3: 5, 4: 9}


def register(tmp_path: Path, **values: Any) -> str:
    name = f"labels_{tmp_path.name}"
    MetadataCatalog.get(name).set(
        categories=THINGS_FIRST, thing_dataset_id_to_contiguous_id=INDEX, **values
    )
    return name


def run(evaluator: LabelEvaluator, output: dict[str, Any]) -> dict[str, Any]:
    video = {
        "video_id": "a",
        "file_names": [f"a/{n}.jpg" for n in FRAMES],
        "height": 12,
        "width": 16,
    }
    evaluator.reset()
    evaluator.process([video], [output])
    return evaluator.evaluate()


def panoptic_output(ids: np.ndarray) -> dict[str, Any]:
    segments = [
        {"id": n, "category_id": INDEX[c], "isthing": c != 2, "track": n}
        for n, c in CLASS_OF.items()
    ]
    return {"panoptic": torch.from_numpy(ids.astype(np.int16)), "segments": segments}


@pytest.fixture
def vps(tmp_path: Path) -> VPSEvaluator:
    listed = [segments_of(frame, CLASS_OF) for frame in scene()]
    gt, root = write_truth(tmp_path, {"a": scene()}, {"a": listed})
    name = register(tmp_path, task="vps", json_file=str(gt), mask_root=str(root))
    return VPSEvaluator(name, output_dir=tmp_path / "out", events=True)


def test_panoptic(vps: VPSEvaluator) -> None:
    figures = run(vps, panoptic_output(scene()))["panoptic_seg"]
    for name in ("VPQ", "VPQ_Th", "VPQ_St", "VPQ_released", "STQ", "VPQ-dog"):
        assert figures[name] == pytest.approx(100), name
    content = json.loads((vps.folder / "pred.json").read_text())
    frames = content["annotations"][0]["annotations"]
    assert [frame["file_name"] for frame in frames] == [f"{n}.png" for n in FRAMES]
    assert [len(frame["segments_info"]) for frame in frames] == [4] * 5 + [3] * 4
    ids = read_segment_ids(vps.folder / "pan_pred/a/000.png")
    first = {s["id"]: s for s in frames[0]["segments_info"]}
    assert first[int(ids[0, 0])] | {"bbox": None} == {
        "id": 10 + 256 * 20 + 65536 * 30,  # the colour of the sky
        "category_id": 2,
        "iscrowd": 0,
        "area": 64,
        "bbox": None,
    }
    assert first[int(ids[0, 0])]["bbox"] == [0, 0, 16, 4]
    assert sorted(path.name for path in vps.folder.iterdir()) == ["pan_pred", "pred.json"]


def test_panoptic_of_an_empty_result(vps: VPSEvaluator) -> None:
    figures = run(vps, {"panoptic": torch.zeros(9, 12, 16, dtype=torch.int16), "segments": []})
    assert figures["panoptic_seg"]["VPQ"] == 0


def test_labels_of_another_size(vps: VPSEvaluator) -> None:
    with pytest.raises(ValueError, match=r"video a is \(9, 12, 16\).*\(9, 6, 8\)"):
        run(vps, panoptic_output(scene()[:, ::2, ::2]))


@pytest.mark.parametrize("labelled", [True, False])
def test_semantic(tmp_path: Path, labelled: bool, caplog: pytest.LogCaptureFixture) -> None:
    classes = np.array([0, 2, 5, 5, 9])[scene()]  # ids in the data set; void is sky
    classes[scene() == 0] = 2
    if labelled:
        for name, frame in zip(FRAMES, classes, strict=True):
            path = tmp_path / "data/a/mask" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((frame + 1).astype(np.uint8)).save(path)
    (tmp_path / "val.txt").write_text("a\n")
    files = {"json_file": str(tmp_path / "val.txt"), "mask_root": str(tmp_path / "data")}
    evaluator = VSSEvaluator(register(tmp_path, task="vss", **files), output_dir=tmp_path / "out")
    labels = np.vectorize(INDEX.__getitem__)(classes).astype(np.int16)
    with caplog.at_level(logging.INFO, logger="dvis_daq"):
        results = run(evaluator, {"semantic": torch.from_numpy(labels)})
    np.testing.assert_array_equal(read_labels(tmp_path / "out/a/003.png", ["L"]), classes[3])
    if not labelled:
        assert results == {}
        assert "no labels" in caplog.text
        return
    figures = results["sem_seg"]
    assert figures["mIoU"] == figures["VC8"] == figures["IoU-dog"] == 100
    assert math.isnan(figures["VC16"])


@pytest.mark.parametrize("labelled", [True, False])
def test_objects(tmp_path: Path, labelled: bool) -> None:
    truth = np.where(scene() > 1, scene(), 0).astype(np.uint8)
    for name, frame in list(zip(FRAMES, truth, strict=True))[: None if labelled else 1]:
        path = tmp_path / "Annotations/a" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(frame).save(path)
    gt = {"videos": [{"file_names": [f"a/{name}.jpg" for name in FRAMES]}]}
    (tmp_path / "gt.json").write_text(json.dumps(gt))
    files = {"json_file": str(tmp_path / "gt.json"), "mask_root": str(tmp_path / "Annotations")}
    evaluator = VOSEvaluator(register(tmp_path, task="vos", **files), output_dir=tmp_path / "out")
    results = run(evaluator, {"objects": torch.from_numpy(truth)})
    np.testing.assert_array_equal(read_labels(tmp_path / "out/a/000.png", ["P"]), truth[0])
    assert results == {} if not labelled else results["vos"]["J&F"] == 100


def test_objects_without_masks(tmp_path: Path) -> None:
    (tmp_path / "gt.json").write_text("{}")
    name = register(tmp_path, task="vos", json_file=str(tmp_path / "gt.json"), mask_root=None)
    evaluator = VOSEvaluator(name, output_dir=tmp_path / "out")
    assert run(evaluator, {"objects": torch.zeros(9, 12, 16, dtype=torch.uint8)}) == {}
    with pytest.raises(ValueError, match="has no folder of masks, which vos is scored"):
        ResultFiles.of_run(MetadataCatalog.get(name), tmp_path)


def test_a_data_set_of_no_task(tmp_path: Path) -> None:
    name = register(tmp_path, task="image", json_file="")
    with pytest.raises(ValueError, match="for none of vis, vps, vss, vos: image"):
        ResultFiles.of_run(MetadataCatalog.get(name), tmp_path)


def test_colors_of_segments() -> None:
    colors = {5: (200, 0, 0), 9: (200, 0, 0), 2: (0, 0, 0)}
    ids = segment_colors([5, 5, 9, 2, 2, 5], colors)
    assert ids[0] == 200
    assert len(set(ids)) == 6
    assert all(0 < number < 2**24 for number in ids)


def test_palette() -> None:
    assert PALETTE[[0, 1, 2, 4, 8, 255]].tolist() == [
        [0, 0, 0], [128, 0, 0], [0, 128, 0], [0, 0, 128], [64, 0, 0], [224, 224, 192],
    ]  # fmt: skip


def test_a_process_that_failed_is_named(vps: VPSEvaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VPSEvaluator, "_score_share", lambda self, files: None)
    with pytest.raises(ValueError, match="part0.pkl is missing: that process failed"):
        run(vps, panoptic_output(scene()))
