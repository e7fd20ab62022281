import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dvis_daq.evaluation.files import ResultFiles
from dvis_daq.evaluation.pictures import write_grey, write_palette
from dvis_daq.evaluation.submission import pack
from tests.unit.metrics.panoptic_scene import segments_of, write_results, write_truth
from tests.unit.metrics.scene import A, B, annotations, results, rle

SIZE = (6, 8)


def change(path: Path, edit: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def names(target: Path) -> list[str]:
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        return sorted(archive.namelist())


@pytest.fixture
def vis(tmp_path: Path) -> ResultFiles:
    gt, found = tmp_path / "valid.json", tmp_path / "some_results.json"
    gt.write_text(json.dumps(annotations(length=2) | {"annotations": None}))  # a test split
    found.write_text(json.dumps(results({"boxes": [A, None]}, {"boxes": [B, B]})))
    return ResultFiles("vis", gt=gt, results=found)


def test_instances(vis: ResultFiles, tmp_path: Path) -> None:
    assert pack(vis, tmp_path / "deep" / "out.zip") == 1
    assert names(tmp_path / "deep" / "out.zip") == ["results.json"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out.zip"]


VIS_FAULTS = {
    "video_id 7, which": lambda entries: entries[1].update(video_id=7),
    "category_id 9, which": lambda entries: entries[1].update(category_id=9),
    r"entries\[1\] has 1 segmentations, video 1 has 2 frames": lambda entries: entries[1][
        "segmentations"
    ].pop(),
    r"entries\[1\], frame 0 of video 1: the RLE has size \(3, 4\)": lambda entries: entries[1][
        "segmentations"
    ].__setitem__(0, rle((0, 0, 1, 1), (3, 4))),
    "score nan; scores must be finite": lambda entries: entries[1].update(score=float("nan")),
    "score None": lambda entries: entries[1].update(score=None),
    "no track at all": lambda entries: entries.clear(),
}


@pytest.mark.parametrize("reason", VIS_FAULTS)
def test_instances_that_are_refused(vis: ResultFiles, tmp_path: Path, reason: str) -> None:
    change(vis.results, VIS_FAULTS[reason])
    with pytest.raises(ValueError, match=reason):
        pack(vis, tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


@pytest.fixture
def vps(tmp_path: Path) -> ResultFiles:
    ids = np.zeros((2, *SIZE), np.int64)
    ids[:, :3], ids[1, 4:] = 7, 9
    listed = {"a": [segments_of(frame, {7: 2, 9: 5}) for frame in ids]}
    gt, masks = write_truth(tmp_path, {"a": ids}, {"a": [[], []]})  # a test split
    found, root = write_results(tmp_path, {"a": ids}, listed)
    return ResultFiles("vps", gt=gt, gt_root=masks, results=found, results_root=root)


def test_panoptic(vps: ResultFiles, tmp_path: Path) -> None:
    pack(vps, tmp_path / "out.zip")
    wanted = ["pan_pred/a/000.png", "pan_pred/a/001.png", "pred.json"]
    assert names(tmp_path / "out.zip") == wanted


VPS_FAULTS = {
    "lacks 1 of 1 videos": lambda c: c["annotations"].clear(),
    "lacks the frame '001'": lambda c: c["annotations"][0]["annotations"].pop(),
    "category_id 3": lambda c: c["annotations"][0]["annotations"][1]["segments_info"][0].update(
        category_id=3
    ),
    "pixels of the segment 7": lambda c: c["annotations"][0]["annotations"][1]["segments_info"].pop(
        0
    ),
    "no pixel of the segment 5": lambda c: c["annotations"][0]["annotations"][0][
        "segments_info"
    ].append({"id": 5, "category_id": 2}),
}


@pytest.mark.parametrize("reason", VPS_FAULTS)
def test_panoptic_that_is_refused(vps: ResultFiles, tmp_path: Path, reason: str) -> None:
    change(vps.results, VPS_FAULTS[reason])
    with pytest.raises(ValueError, match=reason):
        pack(vps, tmp_path / "out.zip")


def test_panoptic_pngs(vps: ResultFiles, tmp_path: Path) -> None:
    png = vps.results_root / "a" / "001.png"
    Image.new("RGB", (4, 3)).save(png)
    with pytest.raises(ValueError, match=r"001\.png is \(3, 4\), the frame \(6, 8\)"):
        pack(vps, tmp_path / "out.zip")
    png.unlink()
    with pytest.raises(ValueError, match=r"001\.png is missing"):
        pack(vps, tmp_path / "out.zip")


def write_images(folder: Path) -> None:
    folder.mkdir(parents=True)
    for t in range(2):
        Image.new("RGB", SIZE[::-1]).save(folder / f"{t:03d}.jpg")


@pytest.fixture
def vss(tmp_path: Path) -> ResultFiles:
    write_images(tmp_path / "data/a/origin")
    for t in range(2):
        write_grey(tmp_path / f"pred/a/{t:03d}.png", np.full(SIZE, 123, np.uint8))
    (tmp_path / "test.txt").write_text("a")
    root, found = tmp_path / "data", tmp_path / "pred"
    return ResultFiles("vss", gt=tmp_path / "test.txt", gt_root=root, results_root=found)


@pytest.fixture
def vos(tmp_path: Path) -> ResultFiles:
    write_images(tmp_path / "valid/JPEGImages/a")
    labels = np.zeros(SIZE, np.uint8)
    labels[2:4] = 5
    write_palette(tmp_path / "valid/Annotations/a/000.png", labels)
    for t in range(2):
        write_palette(tmp_path / f"pred/a/{t:03d}.png", labels)
    root, found = tmp_path / "valid/Annotations", tmp_path / "pred"
    return ResultFiles("vos", gt_root=root, results_root=found)


@pytest.mark.parametrize("task", ["vss", "vos"])
def test_labels(task: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    files = request.getfixturevalue(task)
    pack(files, tmp_path / "out.zip")
    assert names(tmp_path / "out.zip") == ["a/000.png", "a/001.png"]


def _replace(path: Path, labels: np.ndarray) -> None:
    path.unlink()
    write_palette(path, labels.astype(np.uint8))


LABEL_FAULTS = {
    r"001\.png is missing": lambda png: png.unlink(),
    r"001\.png is \(3, 4\), the frame \(6, 8\)": lambda png: _replace(png, np.zeros((3, 4))),
    r"009\.png is of no frame": lambda png: png.rename(png.with_name("009.png")),
    r"001\.png is broken": lambda png: png.write_bytes(b"no image"),
}


@pytest.mark.parametrize("task", ["vss", "vos"])
@pytest.mark.parametrize("reason", LABEL_FAULTS)
def test_labels_that_are_refused(
    task: str, reason: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    files = request.getfixturevalue(task)
    LABEL_FAULTS[reason](files.results_root / "a" / "001.png")
    with pytest.raises(ValueError, match=reason):
        pack(files, tmp_path / "out.zip")


def test_values_that_are_refused(vss: ResultFiles, tmp_path: Path) -> None:
    write_grey(vss.results_root / "a/001.png", np.full(SIZE, 255, np.uint8))
    with pytest.raises(ValueError, match="value 255; write class indices 0 to 123"):
        pack(vss, tmp_path / "out.zip")


def test_objects_that_are_refused(vos: ResultFiles, tmp_path: Path) -> None:
    _replace(vos.results_root / "a/001.png", np.full(SIZE, 6))
    with pytest.raises(ValueError, match=r"has the object 6; the first frame .* shows \[5\]"):
        pack(vos, tmp_path / "out.zip")
    write_grey(vos.results_root / "a/001.png", np.zeros(SIZE, np.uint8))
    with pytest.raises(ValueError, match="must be a palette image"):
        pack(vos, tmp_path / "out.zip")


def test_frames_must_be_there(vss: ResultFiles, tmp_path: Path) -> None:
    vss.gt.write_text("a b")
    with pytest.raises(ValueError, match="b/origin has no images"):
        pack(vss, tmp_path / "out.zip")


def test_what_a_task_needs() -> None:
    with pytest.raises(ValueError, match="task vps needs gt_root, results_root"):
        ResultFiles("vps", gt=Path("a"), results=Path("b"))
