"""The public splits by name, in one table; paths are relative to the root of all data sets."""

from __future__ import annotations

from pathlib import Path

from dvis_daq.data.classes import category_maps
from dvis_daq.data.sources import Source

VIPSEG = Path("VIPSeg/VIPSeg_720P")


def _ytvis(year: int, folder: str, json: str) -> Source:
    root = Path(f"ytvis_{year}")
    return Source("vis", root / json, root / folder / "JPEGImages")


def _ovis(folder: str, name: str) -> Source:
    return Source("vis", Path(f"ovis/annotations/annotations_{name}.json"), Path("ovis") / folder)


def _bdd(folder: str, suffix: str) -> Source:
    json = Path(f"bdd100k/labels/seg_track_20/seg_track_{folder}_cocoformat_uni{suffix}.json")
    return Source("vis", json, Path("bdd100k/images/seg_track_20") / folder)


def _coco(target: str, split: str) -> Source:
    json = Path(f"coco/annotations/coco2{target.replace('_', '')}_{split}.json")
    class_map = category_maps()[f"coco_to_{target}"]
    return Source("image", json, Path(f"coco/{split}2017"), class_map=class_map)


def _vipseg(name: str) -> Source:
    json = VIPSEG / f"panoptic_gt_VIPSeg_{name}.json"
    return Source("vps", json, VIPSEG / "images", VIPSEG / "panomasksRGB")


def _vspw(split: str) -> Source:
    return Source("vss", Path(f"VSPW_480p/{split}.txt"), Path("VSPW_480p/data"))


def _mose(folder: str) -> Source:
    root = Path("MOSE") / folder
    return Source("vos", root / f"{folder}.json", root / "JPEGImages", root / "Annotations")


SPLITS: dict[str, Source] = {
    "ytvis_2019_train": _ytvis(2019, "train", "train.json"),
    "ytvis_2019_val": _ytvis(2019, "valid", "valid.json"),
    "ytvis_2019_test": _ytvis(2019, "test", "test.json"),
    "ytvis_2021_train": _ytvis(2021, "train", "train.json"),
    "ytvis_2021_val": _ytvis(2021, "valid", "valid.json"),
    "ytvis_2021_test": _ytvis(2021, "test", "test.json"),
    "ytvis_2022_val": _ytvis(2022, "valid", "valid/instances.json"),  # train: that of 2021
    "ytvis_2023_val": _ytvis(2023, "valid", "valid/instances.json"),
    "ovis_train": _ovis("train", "train"),
    "ovis_val": _ovis("valid", "valid"),
    "ovis_test": _ovis("test", "test"),
    "ovis_rebuttal_train": _ovis("train", "train_rebuttal"),
    "ovis_rebuttal_val": _ovis("train", "valid_rebuttal"),
    "bdd_seg_track_train": _bdd("train", ""),
    "bdd_seg_track_val": _bdd("val", ""),
    "bdd2ovis_seg_track_train": _bdd("train", "_ovis"),
    "panoVSPW_vps_video_train": _vipseg("train"),
    "panoVSPW_vps_video_val": _vipseg("val"),
    "panoVSPW_vps_video_test": _vipseg("test"),
    "VSPW_vss_video_train": _vspw("train"),
    "VSPW_vss_video_val": _vspw("val"),
    "VSPW_vss_video_test": _vspw("test"),
    "sot_mose_train": _mose("train"),
    "sot_mose_val": _mose("valid"),
    "sot_mose_test": _mose("test"),
}
SPLITS |= {
    f"coco2{target.replace('_', '')}_{split}": _coco(target, split)
    for target in ("ytvis_2019", "ytvis_2021", "ovis")
    for split in ("train", "val")
}
# Parts of the validation videos by how much is hidden; their files are not published.
for _share in ("0p3", "0p4", "0p5", "0p6"):
    SPLITS[f"ovis_rebuttal_val_{_share}"] = _ovis("train", f"valid_rebuttal_{_share}")
    SPLITS[f"panoVSPW_vps_video_val_{_share}"] = _vipseg(f"val_rebuttal_{_share}")
# Cut from train by `tools/dataset.py split`, to have figures without a server.
for _part in ("dev_train", "dev_val"):
    SPLITS[f"ovis_{_part}"] = _ovis("train", _part)
    SPLITS[f"ytvis_2019_{_part}"] = _ytvis(2019, "train", f"{_part}.json")
    SPLITS[f"ytvis_2021_{_part}"] = _ytvis(2021, "train", f"{_part}.json")
