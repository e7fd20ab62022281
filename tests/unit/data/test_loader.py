"""Loaders from a configuration: batches, workers, resume, several sources, refusals."""

import itertools
import json
import uuid

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog

from dvis_daq.config import get_config
from dvis_daq.data.loader import build_test_loader, build_train_loader
from tests.unit.data.tiny_vis import tiny_content, write_tiny


@pytest.fixture
def sources(tmp_path):
    """Two registered data sets; the second has two objects fewer."""
    entries = []
    for number in (0, 1):
        content = tiny_content(length=7 + number)
        json_file, images = write_tiny(tmp_path / str(number), content)
        name = f"set{number}_{uuid.uuid4().hex}"
        entries.append({"NAME": name, "TASK": "vis", "JSON": str(json_file), "IMAGES": str(images)})
    yield entries
    for entry in entries:
        if entry["NAME"] in DatasetCatalog:
            DatasetCatalog.remove(entry["NAME"])
            MetadataCatalog.pop(entry["NAME"])


def config(entries, **keys):
    names = [entry["NAME"] for entry in entries]
    cfg = get_config().clone()
    cfg.defrost()
    cfg.DATASETS.CUSTOM = entries
    cfg.DATASETS.TRAIN = names
    cfg.DATASETS.TEST = names
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 3
    cfg.INPUT.MIN_SIZE_TRAIN = [16, 20, 24]
    cfg.INPUT.MIN_SIZE_TEST = 12
    cfg.INPUT.CLIP.FRAMES = 3
    cfg.INPUT.CLIP.RANGE = 1
    cfg.SOLVER.IMS_PER_BATCH = 2
    cfg.DATALOADER.NUM_WORKERS = 0
    for key, value in keys.items():
        cfg.merge_from_list([key.replace("__", "."), value])
    return cfg


def batches(cfg, count=4, start=0):
    return list(itertools.islice(build_train_loader(cfg, start), count))


def same(a, b):
    assert len(a) == len(b)
    for first, second in zip(a, b, strict=True):
        for x, y in zip(first, second, strict=True):
            assert x["file_names"] == y["file_names"]
            assert torch.equal(x["images"], y["images"])
            assert torch.equal(x["targets"].masks, y["targets"].masks)


def test_batches(sources):
    found = batches(config(sources[:1]))
    assert [len(batch) for batch in found] == [2] * 4
    clip = found[0][0]
    assert clip["images"].shape[:2] == (3, 3)
    assert clip["targets"].masks.shape[1:] == (3, *clip["images"].shape[2:])
    assert len({video["images"].shape for batch in found for video in batch}) > 1


@pytest.mark.parametrize("count", [1, 2])
def test_workers_do_not_change_the_clips(sources, count):
    cfg = config(sources[:count])
    same(batches(cfg, 3), batches(config(sources[:count], DATALOADER__NUM_WORKERS=2), 3))


@pytest.mark.parametrize("count", [1, 2])
def test_a_resumed_run_sees_what_it_would_have_seen(sources, count):
    cfg = config(sources[:count])
    same(batches(cfg, 3, start=4), batches(cfg, 7)[4:])


def test_the_seed_decides(sources):
    cfg = config(sources[:1])
    same(batches(cfg), batches(cfg))
    names = [[v["file_names"] for b in batches(config(sources[:1], SEED=s), 6) for v in b]
             for s in (1, 2)]  # fmt: skip
    assert names[0] != names[1]


def test_sources_are_mixed_by_ratio(sources):
    cfg = config(sources, DATASETS__RATIO=[0.0, 1.0])
    lengths = {video["length"] for batch in batches(cfg, 8) for video in batch}
    assert lengths == {8}
    mixed = batches(config(sources), 12)
    assert {video["length"] for batch in mixed for video in batch} == {7, 8}
    assert all(len({video["length"] for video in batch}) == 1 for batch in mixed)


def test_all_augmentations_together(sources):
    cfg = config(sources[:1], INPUT__CROP__ENABLED=True, INPUT__CROP__SIZE=[10, 20],
                 INPUT__COLOR__CONTRAST=0.2, INPUT__MIN_SIZE_TRAIN_SAMPLING="range",
                 INPUT__MIN_SIZE_TRAIN=[16, 24])  # fmt: skip
    for batch in batches(cfg, 10):
        for video in batch:
            assert video["targets"].visible.any(1).all()


def test_wide_and_tall_videos_are_not_mixed_in_a_batch(sources, tmp_path):
    content = tiny_content()
    content["videos"][0].update(width=20)
    content["annotations"][2]["segmentations"] = [[[1, 1, 9, 1, 9, 9]]] * 5
    json_file, images = write_tiny(tmp_path / "tall", content)
    tall = {**sources[0], "JSON": str(json_file), "IMAGES": str(images)}
    wide = [{video["width"] > video["height"] for video in batch}
            for batch in batches(config([tall]), 12)]  # fmt: skip
    assert all(len(kinds) == 1 for kinds in wide)
    assert {True, False} == set.union(*wide)
    straight, resumed = (
        [[(v["video_id"], v["frame_indices"]) for v in batch] for batch in found]
        for found in (batches(config([tall]), 12), batches(config([tall]), 7, start=5))
    )
    assert resumed == straight[5:]
    mixed = batches(config([tall], DATALOADER__ASPECT_RATIO_GROUPING=False), 12)
    assert any(len({video["width"] for video in batch}) == 2 for batch in mixed)


def test_a_test_loader_gives_each_video_once(sources):
    found = list(build_test_loader(config(sources), sources[1]["NAME"]))
    assert [batch[0]["video_id"] for batch in found] == [4, 12]
    images = found[0][0]["images"]
    assert images.shape == (8, 3, 12, 16)
    assert images[2:4].shape == (2, 3, 12, 16)


def test_refusals(sources, tmp_path):
    with pytest.raises(ValueError, match="has 3 classes, the model 2; set .*NUM_CLASSES 3"):
        build_train_loader(config(sources[:1], MODEL__SEM_SEG_HEAD__NUM_CLASSES=2))
    with pytest.raises(ValueError, match="TRAIN is empty"):
        build_train_loader(config(sources, DATASETS__TRAIN=()))
    with pytest.raises(ValueError, match=r"RANDOM_FLIP is 'vertical'; choose one of horizontal"):
        build_train_loader(config(sources, INPUT__RANDOM_FLIP="vertical"))
    with pytest.raises(ValueError, match="always given as RGB"):
        build_train_loader(config(sources, INPUT__FORMAT="BGR"))
    content = tiny_content()
    content["categories"][0]["name"] = "horse"
    json_file, images = write_tiny(tmp_path / "other", content)
    other = {"NAME": f"o{uuid.uuid4().hex}", "TASK": "vis", "JSON": str(json_file),
             "IMAGES": str(images)}  # fmt: skip
    with pytest.raises(ValueError, match=r"trained together but have other classes \(cat, horse\)"):
        build_train_loader(config([other, sources[0]]))
    content["annotations"] = None
    json_file.write_text(json.dumps(content))
    empty = {**other, "NAME": f"e{uuid.uuid4().hex}"}
    with pytest.raises(ValueError, match="has no annotated video"):
        build_train_loader(config([empty]))
