"""The YouTube-VIS / OVIS reader: every spelling of a mask, and broken files."""

import copy
import json

import numpy as np
import pytest
import torch

from dvis_daq.data.annotations import compress, read_instances
from dvis_daq.data.transforms import Plan
from tests.unit.data.tiny_vis import compressed, square, tiny_content, uncompressed, write_tiny

WHOLE = Plan.start((24, 32)).grid()


def read(tmp_path, content):
    file = tmp_path / "set.json"
    file.write_text(json.dumps(content))
    return read_instances(file, tmp_path / "images")


def test_records_are_sorted_and_complete(tmp_path):
    records, categories = read(tmp_path, tiny_content())
    assert [r["video_id"] for r in records] == [4, 12]
    first = records[0]
    assert (first["height"], first["width"], first["length"]) == (24, 32, 5)
    assert first["file_names"][1] == str(tmp_path / "images" / "a" / "001.png")
    assert categories.ids == (10, 20, 30)
    assert categories.names == ("dog", "cow", "cat")


def test_masks_and_visibility(tmp_path):
    records, _ = read(tmp_path, tiny_content())
    tracks = records[0]["targets"]
    assert tracks.ids.tolist() == [3, 7]
    assert tracks.labels.tolist() == [0, 2]
    assert tracks.visible.tolist() == [[True] * 4 + [False], [False] * 2 + [True] * 3]
    np.testing.assert_array_equal(tracks.decode(0, 1), square(2, 19))
    np.testing.assert_array_equal(tracks.decode(1, 4), square(10, 6))
    assert not tracks.decode(1, 0).any()


def test_read_keeps_the_order_of_frames_and_drops_unseen_objects(tmp_path):
    source = read(tmp_path, tiny_content())[0][0]["targets"]
    targets = source.read([4, 3, 3], WHOLE)
    assert targets.ids.tolist() == [3, 7]
    assert targets.visible.tolist() == [[False, True, True], [True, True, True]]
    np.testing.assert_array_equal(targets.masks[1, 1].numpy(), square(10, 5))
    assert source.read([0, 1], WHOLE).ids.tolist() == [3]
    nothing = source.read([0], Plan.start((24, 32)).cropped(20, 0, (4, 9)).grid())
    assert len(nothing) == 0
    assert nothing.masks.shape == (0, 1, 4, 9)
    assert nothing.masks.dtype == torch.bool


@pytest.mark.parametrize("spell", [compressed, uncompressed])
def test_run_lengths_of_both_kinds_are_the_same(spell):
    assert compress(spell(square(3, 5)), (24, 32)) == compress(compressed(square(3, 5)), (24, 32))


def test_masks_without_a_pixel_are_absent(tmp_path):
    content = tiny_content()
    masks = [None, compressed(square(0, 0, 0)), [[1, 1, 2, 2]], [[1, 1, 2, 2], [1, 1, 9, 1, 9, 9]]]
    content["annotations"][0]["segmentations"] = [*masks, uncompressed(square(0, 0, 0))]
    records, _ = read(tmp_path, content)
    assert records[0]["targets"].visible[1].tolist() == [False, False, False, True, False]


def test_areas_are_those_of_the_masks(real_clips):
    records, _ = read_instances(real_clips / "annotations.json", real_clips)
    tracks = records[0]["targets"]
    for row, frame in np.ndindex(tracks.areas.shape):
        assert tracks.areas[row, frame] == tracks.decode(row, frame).sum()


def test_masks_that_do_not_fill_the_frame_are_refused(tmp_path):
    for counts in ("o0o0o0o0o0", "garbage!!"):  # the first one decodes to random memory
        content = tiny_content()
        content["annotations"][0]["segmentations"][3]["counts"] = counts
        with pytest.raises(ValueError, match=r"set.json: annotation id 7, frame 3: the runs"):
            read(tmp_path, content)


@pytest.mark.parametrize("annotations", [None, "missing", []])
def test_files_without_ground_truth(tmp_path, annotations):
    content = tiny_content()
    content["annotations"] = annotations
    if annotations == "missing":
        del content["annotations"]
    records, _ = read(tmp_path, content)
    source = records[0]["targets"]
    assert source.is_empty([0, 1])
    assert source.read([0, 1], WHOLE).masks.shape == (0, 2, 24, 32)


def test_crowds_are_left_out(tmp_path):
    content = tiny_content()
    content["annotations"][0]["iscrowd"] = 1
    records, _ = read(tmp_path, content)
    assert records[0]["targets"].ids.tolist() == [3]


def broken(change):
    content = copy.deepcopy(tiny_content())
    change(content)
    return content


# ruff: noqa: E501
BROKEN = {
    "length": (lambda c: c["annotations"][0]["segmentations"].pop(), r"annotations\[0\] \(id 7\).*4 entries.*5 frames"),
    "areas": (lambda c: c["annotations"][1].update(areas=[1]), r"\(id 3\).*'areas' has 1 entries"),
    "video id": (lambda c: c["annotations"][0].update(video_id=99), "video_id 99 is not a sound entry"),
    "category": (lambda c: c["annotations"][0].update(category_id=4), "category_id 4 .* known ids: 10, 20, 30"),
    "twice": (lambda c: c["annotations"][1].update(id=7), r"annotations\[1\] \(id 7\): another entry"),
    "video twice": (lambda c: c["videos"][1].update(id=12), r"videos\[1\] \(id 12\): another entry"),
    "missing key": (lambda c: c["videos"][0].pop("height"), r"videos\[0\] \(id 12\): key 'height' is missing"),
    "wrong type": (lambda c: c["videos"][0].update(width="32"), "key 'width' is '32'; expected int"),
    "bool id": (lambda c: c["videos"][0].update(id=True), "key 'id' is True"),
    "files": (lambda c: c["videos"][0]["file_names"].pop(), "'length' is 5 but there are 4 file_names"),
    "zero": (lambda c: c["videos"][0].update(length=0), "'length' is 0"),
    "size": (lambda c: c["annotations"][0]["segmentations"][2].update(size=[32, 24]), r"frame 2: RLE size is \[32, 24\]"),
    "counts": (lambda c: c["annotations"][1]["segmentations"][0]["counts"].append(5), "frame 0: RLE counts add up to 773"),
    "counts type": (lambda c: c["annotations"][0]["segmentations"][2].update(counts=5), "RLE counts are of type int"),
    "mask": (lambda c: c["annotations"][0]["segmentations"].__setitem__(0, "x"), "neither null, an RLE nor polygons"),
    "flat polygon": (lambda c: c["annotations"][2]["segmentations"].__setitem__(0, [1, 2, 3, 4, 5, 6]), "not a list of lists"),
    "escape": (lambda c: c["videos"][0]["file_names"].__setitem__(0, "../../etc/passwd"), "leaves the image root"),
    "absolute": (lambda c: c["videos"][0]["file_names"].__setitem__(0, "/etc/passwd"), "leaves the image root"),
    "no videos": (lambda c: c.pop("videos"), "top level: key 'videos' is missing"),
    "no classes": (lambda c: c.update(categories=[]), "categories: is empty"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_names_file_entry_and_remedy(tmp_path, change, message):
    with pytest.raises(ValueError, match=message) as error:
        read(tmp_path, broken(change))
    assert str(error.value).startswith(str(tmp_path / "set.json"))
    assert ";" in str(error.value)  # the remedy


def test_unreadable_files(tmp_path):
    with pytest.raises(ValueError, match="annotation file not found"):
        read_instances(tmp_path / "none.json", tmp_path)
    (tmp_path / "cut.json").write_text('{"videos": [')
    with pytest.raises(ValueError, match="not a json file"):
        read_instances(tmp_path / "cut.json", tmp_path)
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(ValueError, match="top level: is not an object"):
        read_instances(tmp_path / "list.json", tmp_path)


def test_real_clips_in_both_spellings(real_clips):
    images = real_clips / "JPEGImages"
    plain, _ = read_instances(real_clips / "annotations.json", images)
    lists, _ = read_instances(real_clips / "annotations_uncompressed_rle.json", images)
    for a, b in zip(plain, lists, strict=True):
        np.testing.assert_array_equal(a["targets"].runs, b["targets"].runs)
        np.testing.assert_array_equal(a["targets"].offsets, b["targets"].offsets)
    unlabelled, _ = read_instances(real_clips / "videos_unlabelled.json", images)
    assert unlabelled[0]["length"] == 30


def test_tiny_files_are_written(tmp_path):
    json_file, images = write_tiny(tmp_path)
    records, _ = read_instances(json_file, images)
    assert len(records) == 2
