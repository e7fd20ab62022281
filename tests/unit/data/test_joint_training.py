"""Clips of still images, class maps, mixed sources, large-scale jitter; every task trains."""

import itertools
import json
import uuid

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from dvis_daq.data import datasets
from dvis_daq.data.classes import category_maps, class_table
from dvis_daq.data.errors import BrokenDataError
from dvis_daq.data.loader import build_train_loader
from dvis_daq.data.pseudo import StillMapper, smooth_turns, turn_image, turn_masks
from dvis_daq.data.stills import read_stills
from dvis_daq.data.stream import RecordStore
from dvis_daq.data.transforms import Compose, HorizontalFlip, LargeScaleJitter, Plan
from tests.conftest import require_shared
from tests.unit.data.test_loader import config
from tests.unit.data.test_readers import entry, write
from tests.unit.data.tiny_vis import write_tiny

SIZE = (40, 60)
POLYGON = [10, 8, 30, 8, 30, 24, 10, 24]  # columns 10..29, rows 8..23


def write_coco(folder, names=("person", "cat", "kite"), images=3):
    """Images with one bright rectangle each, drawn by a polygon; image 3 has a crowd alone."""
    (folder / "images").mkdir(parents=True)
    content = {"images": [], "annotations": [], "categories": []}
    content["categories"] = [{"id": 10 * k + 1, "name": name} for k, name in enumerate(names)]
    for i in range(1, images + 1):
        pixels = np.zeros((*SIZE, 3), dtype=np.uint8)
        pixels[8:24, 10:30] = 250
        Image.fromarray(pixels).save(folder / "images" / f"{i}.png")
        content["images"].append(
            {"id": i, "file_name": f"{i}.png", "height": SIZE[0], "width": SIZE[1]}
        )
        common = {"image_id": i, "category_id": (1, 11, 21)[i - 1], "iscrowd": 0}
        content["annotations"].append(
            {"id": 50 - i, **common, "segmentation": [POLYGON, [1, 2, 3]]}
        )
    content["annotations"][-1].update(iscrowd=1, segmentation={"counts": [1], "size": list(SIZE)})
    (folder / "coco.json").write_text(json.dumps(content))
    return {"NAME": f"coco_{uuid.uuid4().hex}", "TASK": "image", "JSON": str(folder / "coco.json"),
            "IMAGES": str(folder / "images")}  # fmt: skip


# ---------------------------------------------------------------------- still images


def test_stills_are_painted_where_the_polygons_say(tmp_path):
    source = write_coco(tmp_path)
    records, categories = read_stills(tmp_path / "coco.json", tmp_path / "images")
    assert categories.names == ("person", "cat", "kite") and source["TASK"] == "image"
    assert [r["targets"].is_empty([0]) for r in records] == [False, False, True]
    targets = records[0]["targets"].read([0, 0, 0], Plan.start(SIZE).grid())
    truth = np.zeros(SIZE, dtype=bool)
    truth[8:24, 10:30] = True
    assert targets.masks.shape == (1, 3, *SIZE)
    assert np.array_equal(targets.masks[0, 2].numpy(), truth)
    assert targets.ids.tolist() == [49]
    stored = RecordStore(records)[1]["targets"]
    assert torch.equal(
        stored.read([0], Plan.start(SIZE).grid()).masks[0, 0], torch.from_numpy(truth)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: c["annotations"][0].update(category_id=5),
            "annotation 49: category_id 5 is not in",
        ),
        (
            lambda c: c["annotations"][0].update(image_id=9),
            "annotations name image 9, which is not",
        ),
        (lambda c: c["annotations"][0].pop("segmentation"), "annotation 49: lacks 'segmentation'"),
        (lambda c: c["annotations"][0].update(segmentation={"counts": "x"}), "49: is no polygon"),
        (lambda c: c["images"][1].update(id=1), "image 1 has the id of another"),
        (lambda c: c["images"][1].pop("height"), "image 2 lacks 'height'"),
    ],
)
def test_broken_stills(tmp_path, change, message):
    write_coco(tmp_path)
    content = json.loads((tmp_path / "coco.json").read_text())
    change(content)
    (tmp_path / "coco.json").write_text(json.dumps(content))
    with pytest.raises(BrokenDataError, match=message):
        read_stills(tmp_path / "coco.json", tmp_path / "images")


def test_a_still_turns_smoothly_and_its_mask_with_it(tmp_path):
    write_coco(tmp_path)
    record = read_stills(tmp_path / "coco.json", tmp_path / "images")[0][0]
    mapper = StillMapper(frames=6, transform=Compose([]), degrees=20)
    falls = set()
    for seed in range(8):
        clip = mapper(record, np.random.default_rng(seed))
        images, masks = clip["images"], clip["targets"].masks
        assert images.shape == (6, 3, *SIZE) and masks.shape == (1, 6, *SIZE)
        # the bright rectangle and its mask move together, frame by frame
        bright = images[:, 0] > 125
        assert ((bright != masks[0]).flatten(1).sum(1) <= 0.1 * bright.flatten(1).sum(1)).all()
        assert any(not torch.equal(images[0], image) for image in images[1:])
        y = (masks[0].float() * torch.arange(SIZE[0])[:, None]).sum((1, 2)) / masks[0].sum((1, 2))
        steps = y.diff()
        assert (steps >= -0.35).all() or (steps <= 0.35).all()  # angles are sorted
        falls.add(bool(steps.sum() > 0))
        assert clip["frame_indices"] == list(range(6)) and clip["length"] == 6
        assert clip["file_names"] == [record["file_names"][0]] * 6
    assert falls == {True, False}


def test_turning_by_nothing_changes_nothing():
    image = torch.randint(0, 256, (3, *SIZE), dtype=torch.uint8)
    masks = torch.rand(11, *SIZE) > 0.5
    turns = smooth_turns(3, 0.0, SIZE, np.random.default_rng(0))
    assert torch.equal(turn_image(image, turns), image.expand(3, -1, -1, -1))
    assert torch.equal(turn_masks(masks, turns), masks[:, None].expand(-1, 3, -1, -1))


def test_masks_turn_one_by_one_as_together():
    masks = torch.rand(17, *SIZE) > 0.5
    turns = smooth_turns(3, 30.0, SIZE, np.random.default_rng(1))
    together = turn_masks(masks, turns)
    for mask, turned in zip(masks, together, strict=True):
        for turn, frame in zip(turns, turned, strict=True):
            alone = cv2.warpAffine(
                mask.numpy().astype(np.uint8), turn, SIZE[::-1], flags=cv2.INTER_NEAREST
            )
            assert np.array_equal(frame.numpy(), alone.astype(bool))
    assert turn_masks(masks[:0], turns).shape == (0, 3, *SIZE)


def test_stills_are_clips_of_the_loader(tmp_path):
    source = write_coco(tmp_path)
    cfg = config([source], INPUT__PSEUDO__MIN_SIZE_TRAIN=[20, 30], INPUT__PSEUDO__MAX_SIZE_TRAIN=99)
    sizes = set()
    for batch in itertools.islice(build_train_loader(cfg), 6):
        for clip in batch:
            assert clip["images"].shape[0] == 3 and clip["targets"].masks.shape[1] == 3
            sizes.add(min(clip["images"].shape[2:]))
    assert sizes == {20, 30}
    with pytest.raises(ValueError, match=r"images must not turn; INPUT.PSEUDO.ROTATION 0"):
        build_train_loader(config([source], SOLVER__CACHE_SEGMENTER=True))


# ---------------------------------------------------------------------- classes


@pytest.mark.parametrize("target", ["ovis", "ytvis_2019", "ytvis_2021"])
def test_the_released_maps(target):
    folder = require_shared("reference", "categories")
    pairs = json.loads((folder / f"coco_to_{target}.json").read_text())["pairs"]
    ids = {
        c["name"]: c["id"]
        for c in json.loads((folder / f"{target}.json").read_text())["categories"]
    }
    coco = {
        c["name"]: c["id"] for c in json.loads((folder / "coco.json").read_text())["categories"]
    }
    mine = category_maps()[f"coco_to_{target}"]
    assert {(coco[a], ids[b]) for a, b in mine.items()} == {
        (p["coco_id"], p["target_id"]) for p in pairs
    }
    assert datasets.SPLITS[f"coco2{target.replace('_', '')}_train"].class_map == mine


def test_class_tables():
    assert class_table(["a", "b", "c"], ["c", "a", "b"]).tolist() == [1, 2, 0]
    table = class_table(["a", "b", "c"], ["x", "y"], {"a": "y", "c": "y"})
    assert table.tolist() == [1, -1, 1]
    with pytest.raises(ValueError, match=r"other classes \(a, x\)"):
        class_table(["a", "b"], ["x", "b"])
    with pytest.raises(ValueError, match="no classes c, z"):
        class_table(["a", "b"], ["x"], {"a": "z", "c": "x"})


def test_images_and_videos_are_mixed_with_the_classes_of_the_last(tmp_path):
    coco = {**write_coco(tmp_path / "coco"), "MAP": {"cat": "cow", "person": "cow"}}
    json_file, images = write_tiny(tmp_path / "vis")
    video = {
        "NAME": f"v{uuid.uuid4().hex}",
        "TASK": "vis",
        "JSON": str(json_file),
        "IMAGES": str(images),
    }
    keys = {"INPUT__PSEUDO__MIN_SIZE_TRAIN": [20], "DATASETS__RATIO": [1.0, 1.0]}
    seen = {"coco": set(), "vis": set()}
    for batch in itertools.islice(build_train_loader(config([coco, video], **keys)), 16):
        kind = {
            "coco" if "coco" in name else "vis" for clip in batch for name in clip["file_names"]
        }
        assert len(kind) == 1  # a batch comes from one source
        for clip in batch:
            seen[kind.copy().pop()] |= set(clip["targets"].labels.tolist())
    assert seen["coco"] == {1}  # dog, cow, cat
    assert len(seen["vis"]) > 1
    with pytest.raises(
        ValueError, match=r"trained together but have other classes \(cow, dog, kite"
    ):
        build_train_loader(config([{**coco, "NAME": "c1", "MAP": None}, video]))
    with pytest.raises(ValueError, match="no classes Vehical, bear"):
        build_train_loader(config([{**coco, "NAME": "c2", "MAP": {"bear": "Vehical"}}, video]))


def test_sources_of_every_kind_can_change_their_classes(tmp_path):
    for task in ("vps", "vss"):
        write(tmp_path / task, format=task)
        source = entry(tmp_path / task, task)
        datasets.register_custom([source])
        targets = datasets.load(source["NAME"])[0]["targets"]
        grid = Plan.start((48, 64)).grid()
        before = targets.read([0], grid)
        table = np.array([-1] * 5 + [1, 0])  # background and bar alone, the other way round
        after = targets.mapped(table).read([0], grid)
        place = table[before.labels.numpy()]
        for label, mask in zip(after.labels.tolist(), after.masks, strict=True):
            assert torch.equal(mask, before.masks[place == label][0])
        assert len(after) == (place >= 0).sum() > 0


# ---------------------------------------------------------------------- jitter, tasks


def test_jitter_gives_one_square_per_clip_and_masks_fit(tmp_path):
    write_coco(tmp_path)
    record = read_stills(tmp_path / "coco.json", tmp_path / "images")[0][0]
    jitter = Compose([HorizontalFlip(), LargeScaleJitter(32, 0.3, 2.0)])
    borders = set()
    for seed in range(12):
        clip = StillMapper(2, jitter, degrees=0)(record, np.random.default_rng(seed))
        if clip is None:
            continue
        assert clip["images"].shape == (2, 3, 32, 32)
        assert clip["targets"].masks.shape[1:] == (2, 32, 32)
        grey = (clip["images"][0] == 128).all(0)
        borders.add(bool(grey.any()))
        assert not clip["targets"].masks[0, 0][grey].any()
        bright = (clip["images"][0, 0] > 125) & ~grey
        assert (bright != clip["targets"].masks[0, 0]).sum() <= 0.3 * bright.sum()
    assert borders == {True, False}


@pytest.mark.parametrize("sizes", [(0, 0.1, 2), (8, 0, 2), (8, 2, 1)])
def test_jitter_refuses_nonsense(sizes):
    with pytest.raises(ValueError, match="needs size >= 1"):
        LargeScaleJitter(*sizes)


@pytest.mark.parametrize("task", ["vps", "vss", "vos"])
@pytest.mark.parametrize("jitter", [False, True])
def test_every_task_has_a_train_loader(tmp_path, task, jitter):
    write(tmp_path, format=task)
    keys = {"INPUT__LSJ__ENABLED": jitter, "INPUT__LSJ__SIZE": 40}
    cfg = config([entry(tmp_path, task)], MODEL__SEM_SEG_HEAD__NUM_CLASSES=7, **keys)
    for batch in itertools.islice(build_train_loader(cfg), 4):
        for clip in batch:
            targets = clip["targets"]
            assert targets.masks.shape[1:] == (3, *clip["images"].shape[2:])
            assert targets.visible.any(1).all() and len(targets) > 0
            if jitter:
                assert clip["images"].shape[2:] == (40, 40)
