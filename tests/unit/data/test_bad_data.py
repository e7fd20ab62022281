"""Broken data: an error that names the file, or by option a skip that is told and counted."""

import itertools
import json
import logging
import shutil
import uuid

import pytest
from PIL import Image

from dvis_daq.data import datasets
from dvis_daq.data.errors import BrokenDataError
from dvis_daq.data.loader import build_test_loader, build_train_loader
from tests.unit.data.test_joint_training import write_coco
from tests.unit.data.test_loader import config
from tests.unit.data.test_readers import entry, write
from tests.unit.data.tiny_vis import tiny_content, write_tiny


def put(folder, change=None):
    """A tiny set as DATASETS.CUSTOM names it; `change` damages its json."""
    content = tiny_content()
    json_file, images = write_tiny(folder, content)
    if change is not None:
        change(content)
        json_file.write_text(json.dumps(content))
    name = f"bad_{uuid.uuid4().hex}"
    return {"NAME": name, "TASK": "vis", "JSON": str(json_file), "IMAGES": str(images)}


def take(source, batches=12, **keys):
    cfg = config([source], MODEL__SEM_SEG_HEAD__NUM_CLASSES=7, **keys)
    return list(itertools.islice(build_train_loader(cfg), batches))


def truncate(file):
    picture = Image.open(file).convert("RGB").resize((32, 24))
    picture.save(file, "JPEG", quality=95)  # under its old name: the content decides
    file.write_bytes(file.read_bytes()[:-30])


FILES = {
    "truncated JPEG": (truncate, r"a/003\.png: broken or cut short"),
    "truncated PNG": (
        lambda f: f.write_bytes(f.read_bytes()[:-20]),
        r"003\.png: broken or cut short",
    ),
    "no image": (lambda f: f.write_text("<html>"), r"003\.png: broken or cut short"),
    "empty file": (lambda f: f.write_bytes(b""), r"003\.png: broken or cut short"),
    "missing frame": (lambda f: f.unlink(), r"a/003\.png: image not found"),
    "wrong size": (
        lambda f: Image.new("RGB", (31, 24)).save(f),
        r"003\.png: the image is \(24, 31\)",
    ),
}
ENTRIES = {
    "category": (lambda c: c["annotations"][0].update(category_id=99), "category_id 99 is not in"),
    "mask size": (
        lambda c: c["annotations"][1]["segmentations"][0].update(size=[9, 9]),
        r"RLE size is \[9, 9\]",
    ),
    "lengths": (
        lambda c: c["annotations"][0]["segmentations"].pop(),
        "has 4 entries but video 4 has 5",
    ),
    "id twice": (lambda c: c["annotations"][1].update(id=7), "another entry has the same id"),
    "order": (lambda c: c["videos"][0]["file_names"].reverse(), "not in temporal order"),
    "video": (
        lambda c: c["annotations"][2].update(video_id=13),
        "video_id 13 is not a sound entry",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_bad_frame_is_an_error(tmp_path, name):
    damage, message = FILES[name]
    source = put(tmp_path)
    damage(tmp_path / "images/a/003.png")
    with pytest.raises(BrokenDataError, match=message):
        take(source)
    with pytest.raises(BrokenDataError, match=message):
        for (video,) in build_test_loader(
            config([source], DATALOADER__SKIP_BROKEN=True), source["NAME"]
        ):
            video["images"][:]  # evaluation leaves out nothing


@pytest.mark.parametrize("name", FILES)
def test_a_bad_frame_is_skipped_by_option(tmp_path, name, caplog):
    damage, message = FILES[name]
    source = put(tmp_path)
    damage(tmp_path / "images/a/003.png")
    with caplog.at_level(logging.WARNING):
        batches = take(source, DATALOADER__SKIP_BROKEN=True)
    clips = [clip for batch in batches for clip in batch]
    assert len(clips) == 24 and all("skipped" not in clip for clip in clips)
    assert not any("a/003.png" in file for clip in clips for file in clip["file_names"])
    assert caplog.text.count("left out: ") >= 1
    told = [m for m in caplog.messages if "left out: " in m and "003.png" in m]
    assert len(told) == 1  # once, however often it is drawn
    assert caplog.messages[-1].startswith("broken clips left out: ")
    number = int(caplog.messages[-1].split(": ")[1].split()[0])
    assert number > 1


@pytest.mark.parametrize("name", ENTRIES)
def test_a_bad_entry_is_an_error_or_skipped(tmp_path, name, caplog):
    change, message = ENTRIES[name]
    source = put(tmp_path, change)
    with pytest.raises(BrokenDataError, match=message):
        take(source)
    with caplog.at_level(logging.WARNING):
        take(source, 2, DATALOADER__SKIP_BROKEN=True)
    assert any(source["NAME"] in m and "left out" in m for m in caplog.messages)
    assert any("broken entries left out" in m and ": 0" not in m for m in caplog.messages)


def test_only_the_broken_entries_go(tmp_path):
    source = put(tmp_path, ENTRIES["category"][0])
    clips = [c for batch in take(source, 20, DATALOADER__SKIP_BROKEN=True) for c in batch]
    assert {i for clip in clips for i in clip["targets"].ids.tolist()} == {3, 9}


def test_what_breaks_the_whole_file_is_always_an_error(tmp_path):
    source = put(tmp_path, lambda c: c.pop("categories"))
    for skip in (False, True):
        with pytest.raises(ValueError, match="categories"):
            take(source, DATALOADER__SKIP_BROKEN=skip)


def test_annotations_without_a_pixel_are_told(tmp_path, caplog):
    source = put(tmp_path, lambda c: c["annotations"][0].update(segmentations=[None] * 5))
    with caplog.at_level(logging.WARNING):
        take(source, 1)
    assert any("1 annotations have no pixel in any frame" in message for message in caplog.messages)


def test_a_set_of_broken_videos_alone_ends(tmp_path):
    source = put(tmp_path)
    shutil.rmtree(tmp_path / "images/a")
    shutil.rmtree(tmp_path / "images/b")
    with pytest.raises(ValueError, match=r"200 clips in a row show no object \(200 are broken\)"):
        take(source, DATALOADER__SKIP_BROKEN=True)


@pytest.mark.parametrize("task", ["vps", "vss", "vos", "image"])
def test_every_task_can_skip(tmp_path, task, caplog):
    if task == "image":
        source = write_coco(tmp_path)
        (tmp_path / "images/1.png").unlink()
    else:
        write(tmp_path, format=task)
        source = entry(tmp_path, task)
        frame = {"vps": "images/train_0000", "vss": "data/train_0000/mask",
                 "vos": "train/JPEGImages/0000"}[task]  # fmt: skip
        next((tmp_path / frame).glob("*")).unlink()
    with pytest.raises(BrokenDataError):
        take(source)
    with caplog.at_level(logging.WARNING):
        clips = [c for batch in take(source, 6, DATALOADER__SKIP_BROKEN=True) for c in batch]
    assert len(clips) == 12
    assert any("left out: " in message for message in caplog.messages)


def test_the_counts_of_a_reader_are_told(tmp_path):
    write(tmp_path, format="vps")
    source = entry(tmp_path, "vps")
    json_file = tmp_path / "panoptic_gt_VIPSeg_train.json"
    content = json.loads(json_file.read_text())
    content["videos"][0]["images"].reverse()
    json_file.write_text(json.dumps(content))
    datasets.register_custom([source])
    skipped = datasets.Skipped("x")
    assert [r["video_id"] for r in datasets.load(source["NAME"], skipped)] == ["train_0001"]
    assert skipped.count == 1
