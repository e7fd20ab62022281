"""Panoptic, semantic and object data sets: what is on disk is what a model is told."""

import json
import uuid

import numpy as np
import pytest
import torch
from PIL import Image

from dvis_daq.config import get_config
from dvis_daq.data import datasets
from dvis_daq.data.classes import vipseg_categories
from dvis_daq.data.errors import BrokenDataError
from dvis_daq.data.loader import build_test_loader
from dvis_daq.data.objects import read_objects
from dvis_daq.data.panoptic import read_panoptic, segment_ids
from dvis_daq.data.semantic import read_semantic
from dvis_daq.data.synthetic import Recipe, make_video, write_dataset
from dvis_daq.data.synthetic import panoptic as made
from dvis_daq.data.transforms import Plan
from tests.conftest import require_shared

SIZE = (48, 64)
RECIPE = {"height": 48, "width": 64, "frames": 4, "train": 2, "val": 1, "event_rate": 1.0,
          "min_visible": 6}  # fmt: skip
GRID = Plan.start(SIZE).grid()


def write(folder, **changes):
    recipe = Recipe(**{**RECIPE, **changes})
    list(write_dataset(recipe, folder))
    return recipe


def entry(folder, task, part="train"):
    """The set as DATASETS.CUSTOM names it."""
    mose = {"train": "train", "val": "valid"}[part]
    paths = {
        "vps": {
            "JSON": f"panoptic_gt_VIPSeg_{part}.json",
            "IMAGES": "images",
            "MASKS": "panomasksRGB",
        },
        "vss": {"SPLIT": f"{part}.txt", "IMAGES": "data", "CATEGORIES": "categories.json"},
        "vos": {
            "JSON": f"{mose}/{mose}.json",
            "IMAGES": f"{mose}/JPEGImages",
            "MASKS": f"{mose}/Annotations",
        },
    }[task]
    name = f"{task}_{uuid.uuid4().hex}"
    return {"NAME": name, "TASK": task, **{key: str(folder / path) for key, path in paths.items()}}


def loader(source, **keys):
    cfg = get_config().clone()
    cfg.defrost()
    cfg.DATASETS.CUSTOM = [source]
    cfg.INPUT.MIN_SIZE_TEST = 24
    cfg.DATALOADER.NUM_WORKERS = 0
    return build_test_loader(cfg, source["NAME"])


# ---------------------------------------------------------------------- panoptic


@pytest.fixture
def vps(tmp_path):
    write(tmp_path, format="vps")
    return tmp_path


def read_vps(folder, part="train"):
    json_file = folder / f"panoptic_gt_VIPSeg_{part}.json"
    return read_panoptic(json_file, folder / "images", folder / "panomasksRGB")


def test_panoptic_targets_are_the_segments(vps):
    records, categories = read_vps(vps)
    assert [record["video_id"] for record in records] == ["train_0000", "train_0001"]
    assert categories.names == (*made.CLASSES, *made.STUFF)
    video = make_video(Recipe(**RECIPE), "train", 1)
    truth = made.segment_ids(video, 6)
    frames = [3, 1, 1]
    targets = records[1]["targets"].read(frames, GRID)
    assert targets.ids.tolist() == sorted(set(np.unique(truth[[1, 3]])) - {0})
    for segment, mask, label in zip(
        targets.ids.tolist(), targets.masks, targets.labels, strict=True
    ):
        assert np.array_equal(mask.numpy(), truth[frames] == segment)
        expected = 5 + segment - 1 if segment < 3 else video.labels[segment - 3]
        assert label == expected


def test_panoptic_targets_follow_the_transform(vps):
    record = read_vps(vps)[0][0]
    plan = Plan.start(SIZE).resized((96, 128)).cropped(20, 30, (40, 50)).flipped()
    whole = record["targets"].read([2], GRID)
    cut = record["targets"].read([2], plan.grid())
    rows, columns = plan.grid()
    for segment, mask in zip(cut.ids, cut.masks, strict=True):
        (row,) = np.flatnonzero(whole.ids == segment)
        assert np.array_equal(mask[0], whole.masks[row, 0].numpy()[rows][:, columns])
    assert cut.masks.flatten(1).any(1).all()


def test_classes_put_things_first(vps):
    content = json.loads((vps / "panoptic_gt_VIPSeg_train.json").read_text())
    for category in content["categories"]:
        category["isthing"] = int(category["id"] in (1, 4))
    (vps / "panoptic_gt_VIPSeg_train.json").write_text(json.dumps(content))
    records, categories = read_vps(vps)
    assert categories.ids == (1, 4, 0, 2, 3, 5, 6)
    targets = records[0]["targets"].read([0], GRID)
    background = targets.labels[targets.ids == 1]
    assert categories.ids[background] == 5


def test_a_crowd_is_no_target(vps):
    content = json.loads((vps / "panoptic_gt_VIPSeg_train.json").read_text())
    for frame in content["annotations"][0]["annotations"]:
        for segment in frame["segments_info"]:
            segment["iscrowd"] = int(segment["id"] == 1)
    (vps / "panoptic_gt_VIPSeg_train.json").write_text(json.dumps(content))
    targets = read_vps(vps)[0][0]["targets"]
    assert 1 not in targets.read([0, 1], GRID).ids
    assert not targets.is_empty([0])


def test_a_panoptic_set_without_ground_truth(vps):
    content = json.loads((vps / "panoptic_gt_VIPSeg_train.json").read_text())
    for frame in (f for video in content["annotations"] for f in video["annotations"]):
        frame["segments_info"] = []
    for image in (i for video in content["videos"] for i in video["images"]):
        image["file_name"] = image["file_name"].replace(".png", ".jpg")
    (vps / "panoptic_gt_VIPSeg_train.json").write_text(json.dumps(content))
    record = read_vps(vps)[0][0]
    assert record["targets"].is_empty(range(4))
    assert record["file_names"][0].endswith("images/train_0000/00000.jpg")


def test_broken_panoptic_data(vps):
    json_file = vps / "panoptic_gt_VIPSeg_train.json"
    sound = json_file.read_text()

    def refused(message, change):
        content = json.loads(sound)
        change(content)
        json_file.write_text(json.dumps(content))
        with pytest.raises(BrokenDataError, match=message):
            read_vps(vps)[0][0]["targets"].read([0], GRID)

    def first(content):
        return content["annotations"][0]["annotations"][0]["segments_info"][0]

    refused(
        "video 'train_0000'.*category_id 77 is not in", lambda c: first(c).update(category_id=77)
    )
    refused("category_id 5, but 0 in an earlier frame", lambda c: first(c).update(category_id=0))
    refused("temporal order", lambda c: c["videos"][0]["images"].reverse())
    refused("must have one size.*48, 63", lambda c: c["videos"][0]["images"][1].update(width=63))
    refused("another entry has the same id", lambda c: c["videos"].append(c["videos"][0]))
    refused("'x' is not in its 'images'",
            lambda c: c["annotations"][0]["annotations"][0].update(image_id="x"))  # fmt: skip
    refused(
        r"00000\.png: segment id 1 is not in the segments_info", lambda c: first(c).update(id=900)
    )
    json_file.write_text(sound)
    png = vps / "panomasksRGB/train_0000/00000.png"
    whole = png.read_bytes()
    for damage, message in (
        (lambda: png.write_bytes(whole[:-40]), "broken or cut short"),
        (
            lambda: Image.new("RGB", (64, 47)).save(png),
            r"\(47, 64\), the annotations say \(48, 64\)",
        ),
        (lambda: Image.new("L", (64, 48)).save(png), "not an RGB image"),
        (png.unlink, "image not found"),
    ):
        damage()
        with pytest.raises(BrokenDataError, match=message):
            read_vps(vps)[0][0]["targets"].read([0], GRID)


def test_the_real_sample_in_the_layout_of_vipseg():
    root = require_shared("data", "real_clips", "vipseg_layout", "VIPSeg_720P")
    records, categories = read_panoptic(
        root / "panoptic_gt_VIPSeg_train.json", root / "images", root / "panomasksRGB"
    )
    assert categories.names == vipseg_categories().names
    assert sum(categories.isthing) == 58 and all(categories.isthing[:58])
    assert [(r["video_id"], r["length"]) for r in records] == [
        ("intel_cars", 12),
        ("intel_produce_a", 12),
    ]
    record = records[0]
    size = (record["height"], record["width"])
    targets = record["targets"].read(range(12), Plan.start(size).grid())
    assert {categories.names[k] for k in targets.labels} == {"road", "car"}
    ids = segment_ids(root / "panomasksRGB/intel_cars/00000010.png")
    assert torch.equal(
        targets.masks[:, 3].sum((1, 2)), torch.tensor([(ids == i).sum() for i in targets.ids])
    )


# ---------------------------------------------------------------------- semantic


def read_vss(folder, part="train"):
    return read_semantic(folder / f"{part}.txt", folder / "data", vipseg_categories())


def test_semantic_targets_are_the_classes(tmp_path):
    write(tmp_path, format="vss")
    source = entry(tmp_path, "vss")
    datasets.register_custom([source])
    records = datasets.load(source["NAME"])
    targets = records[0]["targets"].read([0, 3], GRID)
    video = make_video(Recipe(**RECIPE), "train", 0)
    ids = made.segment_ids(video, 6)[[0, 3]]
    truth = np.full(ids.shape, -1)
    truth[ids == 1], truth[ids == 2] = 5, 6
    for n, label in enumerate(video.labels):
        truth[ids == n + 3] = label
    assert targets.labels.tolist() == sorted(set(np.unique(truth)) - {-1})
    for label, mask in zip(targets.labels.tolist(), targets.masks.numpy(), strict=True):
        assert np.array_equal(mask, truth == label)
    entries = datasets.metadata(source["NAME"])
    assert entries.thing_classes == [] and len(entries.stuff_classes) == 7
    assert [c["isthing"] for c in entries.categories] == [1] * 5 + [0] * 2


def test_semantic_classes_of_vspw_put_things_first(tmp_path):
    write(tmp_path, format="vss")
    mask = np.zeros(SIZE, dtype=np.uint8)
    mask[0, :4] = [0, 255, 1, 61]  # wall is stuff with id 0, person a thing with id 60
    Image.fromarray(mask).save(tmp_path / "data/train_0000/mask/00000.png")
    records, categories = read_vss(tmp_path)
    targets = records[0]["targets"].read([0], GRID)
    assert [categories.names[k] for k in targets.labels] == ["person", "wall"]
    assert targets.ids.tolist() == [60, 0]
    assert targets.masks.sum() == 2


def test_the_last_line_of_a_split_needs_no_newline(tmp_path):
    write(tmp_path, format="vss")
    (tmp_path / "train.txt").write_text("train_0001\n\ntrain_0000")
    assert [r["video_id"] for r in read_vss(tmp_path)[0]] == ["train_0000", "train_0001"]


def test_a_semantic_video_without_masks_is_a_test_video(tmp_path):
    write(tmp_path, format="vss")
    folder = tmp_path / "data/val_0000/mask"
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    (record,), _ = read_vss(tmp_path, "val")
    assert record["targets"].is_empty([0])
    assert len(record["targets"].read([0, 1], GRID)) == 0


def test_broken_semantic_data(tmp_path):
    write(tmp_path, format="vss")
    mask = tmp_path / "data/train_0000/mask/00001.png"

    def refused(message):
        with pytest.raises(ValueError, match=message):
            read_vss(tmp_path)[0][0]["targets"].read([1], GRID)

    Image.new("L", (64, 48), 125).save(mask)
    refused(r"00001\.png: value 125 is no class")
    Image.new("RGB", (64, 48)).save(mask)
    refused("one byte a pixel")
    mask.unlink()
    refused(r"1 frames have no mask, first .*00001\.png")
    (tmp_path / "train.txt").write_text("train_0001\ntrain_0001\n")
    refused("'train_0001' is listed twice")
    (tmp_path / "train.txt").write_text("train_00\n")
    refused("train_00/origin: folder of frames not found")
    (tmp_path / "train.txt").write_text("\n")
    refused("names no video")


# ---------------------------------------------------------------------- objects


def test_objects_have_the_ids_of_their_pngs(tmp_path):
    write(tmp_path, format="vos")
    records, categories = read_objects(tmp_path / "train/train.json", tmp_path / "train/JPEGImages")
    assert categories.names == ("object",)
    assert [record["video_id"] for record in records] == ["0000", "0001"]
    record = records[1]
    targets = record["targets"].read(range(record["length"]), GRID)
    assert targets.labels.tolist() == [0] * len(targets)
    pngs = sorted((tmp_path / "train/Annotations/0001").glob("*.png"))
    values = np.stack([np.asarray(Image.open(png)) for png in pngs])
    assert targets.ids.tolist() == sorted(set(np.unique(values)) - {0})
    for number, mask in zip(targets.ids.tolist(), targets.masks.numpy(), strict=True):
        assert np.array_equal(mask, values == number)


def test_objects_without_numbers_are_counted(tmp_path):
    write(tmp_path, format="vos", event_rate=0.0)
    json_file = tmp_path / "train/train.json"
    content = json.loads(json_file.read_text())
    for item in content["annotations"]:
        del item["object_id"]
    json_file.write_text(json.dumps(content))
    for record in read_objects(json_file, tmp_path / "train/JPEGImages")[0]:
        ids = record["targets"].ids
        assert ids.tolist() == list(range(1, len(ids) + 1))
    content["annotations"][0]["object_id"] = 2
    json_file.write_text(json.dumps(content))
    with pytest.raises(BrokenDataError, match="annotation 2: object_id 2 is taken"):
        read_objects(json_file, tmp_path / "train/JPEGImages")


def test_the_first_frame_is_given_to_vos(tmp_path):
    write(tmp_path, format="vos")
    source = entry(tmp_path, "vos", "val")
    ((video,),) = loader(source)
    first = video["first_frame"]
    assert first.masks.shape[1:] == (1, *SIZE)  # of the files, not of the network's input
    assert first.visible.all() and len(first) > 0
    assert video["images"].shape[2:] == (24, 32)
    png = tmp_path / "valid/Annotations/0000/00000.png"
    assert first.ids.tolist() == sorted(set(np.unique(np.asarray(Image.open(png)))) - {0})


@pytest.mark.parametrize("task", ["vps", "vss", "vos"])
def test_every_task_has_a_test_loader(tmp_path, task):
    write(tmp_path, format=task)
    source = entry(tmp_path, task)
    videos = [batch[0] for batch in loader(source)]
    assert len(videos) == 2
    for video in videos:
        assert isinstance(video["video_id"], str)
        assert len(video["file_names"]) == video["length"] == len(video["images"])
        assert (video["height"], video["width"]) == SIZE
        assert video["images"][0].shape == (3, 24, 32)
    known = datasets.metadata(source["NAME"])
    assert known.task == task
    assert known.mask_root == str({"vss": tmp_path / "data"}.get(task) or source["MASKS"])
    assert known.json_file == source.get("SPLIT", source.get("JSON"))
