"""The shipped configurations build their loaders where the data lie as datasets/README.md says."""

import itertools
import json

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from dvis_daq.config import get_config
from dvis_daq.data import datasets
from dvis_daq.data.classes import category_maps, vipseg_categories
from dvis_daq.data.loader import build_test_loader, build_train_loader
from tests.conftest import ROOT
from tests.unit.data.test_joint_training import write_coco
from tests.unit.data.test_readers import write
from tests.unit.data.tiny_vis import tiny_content, write_tiny


@pytest.fixture
def root(tmp_path):
    """The table of data sets, registered under an empty folder."""
    _forget()
    datasets.register_all(tmp_path)
    yield tmp_path
    _forget()


def _forget():
    for name in datasets.SPLITS:
        if name in DatasetCatalog:
            DatasetCatalog.remove(name)
            MetadataCatalog.pop(name)


def _names(target, count):
    """Class names of a target set: those that the map needs, then made-up ones."""
    known = sorted(set(category_maps()[f"coco_to_{target}"].values()))
    return known + [f"class {k}" for k in range(count - len(known))]


def put_vis(folder, json_file, images, names):
    content = tiny_content()
    content["categories"] = [{"id": k + 1, "name": name} for k, name in enumerate(names)]
    for number, item in enumerate(content["annotations"]):
        item["category_id"] = number + 1
    made, frames = write_tiny(folder / "made", content)
    json_file.parent.mkdir(parents=True, exist_ok=True)
    images.parent.mkdir(parents=True, exist_ok=True)
    made.rename(json_file)
    frames.rename(images)


def put_coco(root, target):
    mapped = sorted({*category_maps()[f"coco_to_{target}"]} - {"person", "cat"})
    write_coco(root / "coco", ["person", "cat", "kite", *mapped])
    annotations = root / "coco/annotations"
    annotations.mkdir()
    (root / "coco/coco.json").rename(annotations / f"coco2{target.replace('_', '')}_train.json")
    (root / "coco/images").rename(root / "coco/train2017")


def load(name, *options):
    options = ["DATALOADER.NUM_WORKERS", "0", *options]
    return get_config(ROOT / f"configs/{name}.yaml", options)


@pytest.mark.parametrize(
    ("config", "target", "classes", "places"),
    [
        ("ovis/DVIS_DAQ_online_R50", "ovis", 25,
         ("ovis/annotations/annotations_train.json", "ovis/train")),
        ("ytvis_2019/DVIS_DAQ_online_R50", "ytvis_2019", 40,
         ("ytvis_2019/train.json", "ytvis_2019/train/JPEGImages")),
        ("ytvis_2021/DVIS_DAQ_offline_R50", "ytvis_2021", 40,
         ("ytvis_2021/train.json", "ytvis_2021/train/JPEGImages")),
    ],
)  # fmt: skip
def test_joint_training(root, config, target, classes, places):
    put_vis(root, root / places[0], root / places[1], _names(target, classes))
    put_coco(root, target)
    cfg = load(config, "SOLVER.IMS_PER_BATCH", "1", "INPUT.CLIP.FRAMES", "2")
    kinds = set()
    for (clip,) in itertools.islice(build_train_loader(cfg), 8):
        kinds.add("coco" if "train2017" in clip["file_names"][0] else "video")
        assert clip["images"].shape[0] == 2
    assert kinds == {"coco", "video"}


def test_vipseg(root):
    folder = root / "VIPSeg/VIPSeg_720P"
    write(folder, format="vps")
    for part, name in (("train", "train"), ("val", "val"), ("val", "test")):
        content = json.loads((folder / f"panoptic_gt_VIPSeg_{part}.json").read_text())
        content["categories"] = vipseg_categories().to_json()
        (folder / f"panoptic_gt_VIPSeg_{name}.json").write_text(json.dumps(content))
    cfg = load("vipseg/DVIS_DAQ_online_R50", "SOLVER.IMS_PER_BATCH", "1")
    (clip,) = next(iter(build_train_loader(cfg)))
    assert clip["images"].shape[0] == cfg.INPUT.CLIP.FRAMES
    things = datasets.metadata(cfg.DATASETS.TRAIN[0]).thing_classes
    assert things == list(vipseg_categories().names[:58])
    (name,) = cfg.DATASETS.TEST
    assert [video["video_id"] for (video,) in build_test_loader(cfg, name)] == ["val_0000"]
