"""Tracks as objects of other libraries: values, and the extra that a missing one is told by."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from dvis_daq.tracks import convert
from tests.unit.tracks.test_formats import CONTENT


def test_supervision_of_a_file() -> None:
    rows = convert.frame_to_supervision(CONTENT, 2)
    assert rows.tracker_id.tolist() == [0, 5] and rows.class_id.tolist() == [1, 0]
    assert rows["class_name"].tolist() == ["car", "cat"]
    np.testing.assert_allclose(rows.confidence, [0.9, 0.5])
    assert rows.xyxy.tolist() == [[4, 1, 5, 5], [1, 1, 9, 7]]
    assert rows.mask.sum((1, 2)).tolist() == [10, 63]
    assert len(convert.frame_to_supervision(CONTENT, 3)) == 1


def test_supervision_leaves_out_what_has_no_pixel() -> None:
    masks = np.zeros((2, 4, 4), dtype=bool)
    masks[1, 1, 2] = True
    rows = convert.to_supervision(
        ids=[7, 8], labels=[0, 1], names=["a", "b"], scores=[0.5, 0.25], masks=masks
    )
    assert rows.tracker_id.tolist() == [8]
    none = convert.to_supervision(ids=[], labels=[], names=[], scores=[], masks=masks[:0])
    assert len(none) == 0 and none.xyxy.shape == (0, 4)


def test_pandas() -> None:
    pytest.importorskip("pandas")
    table = convert.to_pandas(CONTENT)
    assert table.groupby("track").size().to_dict() == {-4: 1, 0: 4, 5: 1}
    hidden = table[table.state == "hidden"]
    assert hidden[["frame", "track", "seconds"]].values.tolist() == [[2, 0, 2 / 25]]
    cat = table[table["class"] == "cat"].iloc[0]
    assert (cat.area, cat.left, cat.top, cat.width, cat.height) == (63, 1, 1, 9, 7)
    assert table.frame.is_monotonic_increasing


def test_rerun(tmp_path: Path) -> None:
    rr = pytest.importorskip("rerun")
    recording = rr.RecordingStream("test")
    recording.save(tmp_path / "video.rrd")
    frames = [np.full((8, 10, 3), 40 * t, dtype=np.uint8) for t in range(4)]
    convert.to_rerun(CONTENT, [*frames[:3], None], recording=recording)
    recording.flush()
    data = (tmp_path / "video.rrd").read_bytes()
    assert b"video/masks" in data and b"video/tracks" in data and b"video/image" in data


def test_painted_map_has_the_best_on_top() -> None:
    painted = convert._painted(CONTENT, convert.frame_to_supervision(CONTENT, 2))
    assert painted[0, 0] == 0 and painted[7, 9] == 1 and painted[2, 4] == 2


def test_fiftyone_gets_boxes_masks_and_tracks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a stand-in that keeps what it is given, where FiftyOne is not installed."""
    fo = SimpleNamespace(
        Sample=lambda **given: SimpleNamespace(frames={}, **given),
        Frame=lambda **given: given,
        Detections=lambda **given: given["detections"],
        Detection=lambda **given: given,
    )
    monkeypatch.setitem(sys.modules, "fiftyone", fo)
    sample = convert.to_fiftyone(CONTENT, "in/clip.mp4", field="daq")
    assert sample.filepath == "in/clip.mp4" and list(sample.frames) == [1, 2, 3, 4]
    car, cat = sample.frames[3]["daq"]
    assert (cat["label"], cat["index"], cat["confidence"]) == ("cat", 5, 0.5)
    assert cat["bounding_box"] == [0.1, 1 / 8, 0.9, 7 / 8] and cat["mask"].shape == (7, 9)
    assert car["mask"].all()


def test_fiftyone_itself_puts_masks_where_they_were() -> None:
    """With the real one; a data set of it, which needs its data base, is not made."""
    pytest.importorskip("fiftyone", reason="pip install '.[fiftyone]'")
    sample = convert.to_fiftyone(CONTENT, "in/clip.mp4", field="daq")
    assert sample.media_type == "video" and sorted(sample.frames) == [1, 2, 3, 4]
    for index in range(4):
        shown = list(CONTENT.frame(index))
        detections = sample.frames[index + 1]["daq"].detections
        assert [(d.index, d.label) for d in detections] == [(t.id, t.name) for t, _ in shown]
        for detection, (_, mask) in zip(detections, shown, strict=True):
            size = (CONTENT.video.width, CONTENT.video.height)
            drawn = detection.to_segmentation(frame_size=size, target=1).mask
            assert np.array_equal(drawn, coco_mask.decode(mask))


@pytest.mark.parametrize(
    "call, extra",
    [
        (lambda: convert.to_pandas(CONTENT), "pandas"),
        (lambda: convert.to_rerun(CONTENT, []), "rerun"),
        (lambda: convert.to_fiftyone(CONTENT, "x.mp4"), "fiftyone"),
    ],
)
def test_a_missing_library_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, call, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, extra, None)
    with pytest.raises(ImportError, match=rf"pip install 'dvis_daq\[{extra}\]'"):
        call()
