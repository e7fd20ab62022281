"""`check` finds each fault of a data set and tells all of them."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from dvis_daq.data.checks import check
from tests.unit.data.tiny_vis import compressed, square, tiny_content, write_tiny


def findings(folder, content, **options):
    return [f"{p.level}: {p}" for p in check(*write_tiny(folder, content), **options)]


def with_details(content):
    """The same content with areas, boxes and occlusion levels, all of them right."""
    content["categories"] = [{"id": i, "name": n} for i, n in ((1, "dog"), (2, "cow"), (3, "cat"))]
    for item in content["annotations"]:
        item["category_id"] = item["category_id"] // 10
        masks = item["segmentations"] = [
            None if m is None else compressed(square(3, 2 + t))
            for t, m in enumerate(item["segmentations"])
        ]
        item["areas"] = [None if m is None else 36 for m in masks]
        item["bboxes"] = [None if m is None else [2 + t, 3, 6, 6] for t, m in enumerate(masks)]
        item["occlusion"] = [None if m is None else "no_occlusion" for m in masks]
    return content


def test_a_sound_data_set_has_no_finding(tmp_path):
    assert findings(tmp_path, with_details(tiny_content()), decode=True) == []


# ruff: noqa: E501
FAULTS = {
    "order": (lambda c: c["videos"][0]["file_names"].reverse(), r"error: videos\[0\] \(id 12\): file_names are not in temporal order"),
    "twice": (lambda c: c["videos"][0]["file_names"].__setitem__(1, "b/000.png"), "error.*1 frames are listed twice"),
    "other video": (lambda c: c["videos"][0]["file_names"].__setitem__(0, "a/000.png"), "error.*1 frames are listed twice"),
    "empty mask": (lambda c: c["annotations"][0]["segmentations"].__setitem__(0, compressed(square(0, 0, 0))), r"warning: annotations\[0\] \(id 7\): 1 masks have no pixel, first in frame 0"),
    "never": (lambda c: c["annotations"][0].update(segmentations=[None] * 5), "warning.*never visible"),
    "area": (lambda c: c["annotations"][0]["areas"].__setitem__(2, 400), "warning.*1 'areas' are not those of the masks, first in frame 2"),
    "box": (lambda c: c["annotations"][0]["bboxes"].__setitem__(3, [0, 0, 1, 1]), "warning.*1 'bboxes' are not.*first in frame 3"),
    "box null": (lambda c: c["annotations"][0]["bboxes"].__setitem__(0, [0, 0, 1, 1]), "warning.*1 'bboxes' are not.*first in frame 0"),
    "level": (lambda c: c["annotations"][0]["occlusion"].__setitem__(2, "half"), "error.*1 'occlusion' levels are unknown"),
    "level null": (lambda c: c["annotations"][0]["occlusion"].__setitem__(2, None), "warning.*1 'occlusion' is null with a mask"),
    "runs": (lambda c: c["annotations"][0]["segmentations"][2].update(counts="o0o0"), "error.*1 masks do not fill the frame, first in frame 2"),
    "gap": (lambda c: c["categories"].append({"id": 9, "name": "hen"}), r"warning: categories: ids \[1, 2, 3, 9\] do not count"),
    "unused": (lambda c: c["categories"].append({"id": 4, "name": "hen"}), "warning: categories: 1 classes have no object: hen"),
    "name": (lambda c: c["categories"][0].update(name="cow"), "warning: categories: name 'cow' is used 2 times"),
    "idle": (lambda c: c["annotations"].pop(), r"warning: videos\[0\] \(id 12\): has no annotation"),
    "schema": (lambda c: c["annotations"][2].update(video_id=5), "error.*video_id 5 is not a sound entry"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), FAULTS.values(), ids=FAULTS)
def test_each_fault_is_found(tmp_path, change, message):
    content = with_details(tiny_content())
    change(content)
    found = findings(tmp_path, content)
    assert any(re.match(message, line) for line in found), found


def test_faults_of_the_files(tmp_path):
    json_file, images = write_tiny(tmp_path, with_details(tiny_content()))
    (images / "a/000.png").unlink()
    (images / "a/001.png").unlink()
    Image.fromarray(np.zeros((24, 30, 3), np.uint8)).save(images / "a/002.png")
    whole = (images / "b/003.png").read_bytes()
    (images / "b/003.png").write_bytes(whole[: len(whole) // 2])
    quick = [str(p) for p in check(json_file, images)]
    assert len(quick) == 2  # a header alone does not show that a file was cut
    assert "videos[1] (id 4): 2 frames are not found, first a/000.png" in quick[0]
    assert "1 frames are not of the video's size (24, 32), first a/002.png (24, 30)" in quick[1]
    thorough = [str(p) for p in check(json_file, images, decode=True)]
    assert "videos[0] (id 12): 1 frames cannot be read, first b/003.png" in thorough[0]


def test_all_faults_are_told_at_once(tmp_path):
    content = with_details(tiny_content())
    content["annotations"][0]["video_id"] = 99
    content["annotations"][1]["areas"] = [400] * 5
    content["videos"][0]["file_names"].reverse()
    assert len(findings(tmp_path, content)) == 3


def test_broken_videos_do_not_hide_the_rest(tmp_path):
    content = with_details(tiny_content())
    json_file, images = write_tiny(tmp_path, content)
    content["videos"][0]["length"] = 9
    json_file.write_text(json.dumps(content))
    (images / "a/000.png").unlink()
    found = [str(p) for p in check(json_file, images)]
    assert any("'length' is 9" in line for line in found)
    assert any("1 frames are not found" in line for line in found)


def test_the_public_samples(synthetic_bench):
    assert check(synthetic_bench / "val.json", synthetic_bench / "val") == []
