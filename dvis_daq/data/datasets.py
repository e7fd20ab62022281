"""The data sets by name: one table, and those that a configuration defines itself.

Names are registered with Detectron2's catalogs without reading anything; a json is read when
its name is asked for. Metadata of a name: `task`, `json_file`, `image_root`, and once read
`thing_classes` and `thing_dataset_id_to_contiguous_id` from the json's own categories.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from detectron2.data import DatasetCatalog, MetadataCatalog

from dvis_daq.data.annotations import (
    Categories,
    Record,
    load_json,
    read_categories,
    read_instances,
)

ROOT_VARIABLE = "DETECTRON2_DATASETS"

# How the annotations of a task are read: (json file, image root) -> records, classes.
READERS = {"vis": read_instances}


class Split(NamedTuple):
    """One split on disk; paths relative to the root of all data sets."""

    task: str
    images: str
    json: str


def _ytvis(year: int, folder: str, json: str) -> Split:
    return Split("vis", f"ytvis_{year}/{folder}/JPEGImages", f"ytvis_{year}/{json}")


def _ovis(folder: str, name: str) -> Split:
    return Split("vis", f"ovis/{folder}", f"ovis/annotations/annotations_{name}.json")


def _coco(name: str) -> Split:
    folder = "train2017" if name.endswith("_train") else "val2017"
    return Split("image", f"coco/{folder}", f"coco/annotations/{name}.json")


def _bdd(folder: str, suffix: str) -> Split:
    json = f"bdd100k/labels/seg_track_20/seg_track_{folder}_cocoformat_uni{suffix}.json"
    return Split("vis", f"bdd100k/images/seg_track_20/{folder}", json)


SPLITS: dict[str, Split] = {
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
    "coco2ytvis2019_train": _coco("coco2ytvis2019_train"),
    "coco2ytvis2019_val": _coco("coco2ytvis2019_val"),
    "coco2ytvis2021_train": _coco("coco2ytvis2021_train"),
    "coco2ytvis2021_val": _coco("coco2ytvis2021_val"),
    "coco2ovis_train": _coco("coco2ovis_train"),
    "coco2ovis_val": _coco("coco2ovis_val"),
}

CUSTOM_KEYS = ("NAME", "TASK", "JSON", "IMAGES")


def register_all(root: str | Path | None = None) -> None:
    """Registers the table; names that exist already stay as they are.

    Args:
        root: folder of all data sets; None takes DETECTRON2_DATASETS, or `datasets`.
    """
    root = Path(root or os.environ.get(ROOT_VARIABLE, "datasets"))
    for name, split in SPLITS.items():
        if name not in DatasetCatalog:
            _register(name, split.task, root / split.json, root / split.images)


def register_custom(
    entries: Sequence[Mapping[str, Any]], base_dir: str | Path | None = None
) -> None:
    """Registers the data sets that a configuration defines (`DATASETS.CUSTOM`).

    The same definition may come twice.

    Args:
        entries: mappings with NAME, TASK, JSON and IMAGES.
        base_dir: start of relative paths, the working directory if None.

    Raises:
        ValueError: a key is missing or unknown, a path does not exist, the task cannot be read,
            or the name belongs to another data set.
    """
    base = Path(base_dir or ".")
    for i, entry in enumerate(entries):
        where = f"DATASETS.CUSTOM[{i}]"
        if not isinstance(entry, Mapping) or set(entry) != set(CUSTOM_KEYS):
            raise ValueError(f"{where} must have the keys {', '.join(CUSTOM_KEYS)}; it is {entry}")
        name, task = entry["NAME"], entry["TASK"]
        json_file, images = base / entry["JSON"], base / entry["IMAGES"]
        _check_task(f"{where} ('{name}')", task)
        if not json_file.is_file():
            raise ValueError(f"{where} ('{name}'): JSON {json_file.absolute()} is no file")
        if not images.is_dir():
            raise ValueError(f"{where} ('{name}'): IMAGES {images.absolute()} is no folder")
        if name not in DatasetCatalog:
            _register(name, task, json_file, images)
        elif not _is_registered_as(name, json_file, images):
            raise ValueError(f"{where}: the name '{name}' is taken; choose another NAME")


def load(name: str) -> list[Record]:
    """Records of a registered data set.

    Raises:
        ValueError: no such name, no such file, or the file is broken.
    """
    _check_name(name)
    return DatasetCatalog.get(name)


def metadata(name: str) -> Any:
    """Detectron2's metadata of a registered data set, with its classes.

    Raises:
        ValueError: as `load`.
    """
    _check_name(name)
    entry = MetadataCatalog.get(name)
    if entry.get("thing_classes") is None:
        _set_classes(name, read_categories(load_json(Path(entry.json_file))))
    return entry


def files(name: str) -> tuple[Path, Path]:
    """Annotation file and image root of a registered data set.

    Raises:
        ValueError: no such name, or its task cannot be read.
    """
    _check_name(name)
    entry = MetadataCatalog.get(name)
    _check_task(f"data set '{name}'", entry.get("task"))
    return Path(entry.json_file), Path(entry.image_root)


def _register(name: str, task: str, json_file: Path, images: Path) -> None:
    def read() -> list[Record]:
        _check_task(f"data set '{name}'", task)
        if not json_file.is_file():
            raise ValueError(
                f"data set '{name}': {json_file} not found; set {ROOT_VARIABLE} to the folder "
                "of the data sets (layout: datasets/README.md)"
            )
        records, categories = READERS[task](json_file, images)
        _set_classes(name, categories)
        return records

    DatasetCatalog.register(name, read)
    entry = MetadataCatalog.get(name)
    entry.set(task=task, json_file=str(json_file), image_root=str(images))


def _set_classes(name: str, categories: Categories) -> None:
    MetadataCatalog.get(name).set(
        thing_classes=list(categories.names),
        thing_dataset_id_to_contiguous_id=categories.index,
    )


def _is_registered_as(name: str, json_file: Path, images: Path) -> bool:
    entry = MetadataCatalog.get(name)
    known = [entry.get("json_file"), entry.get("image_root")]
    wanted = [json_file.resolve(), images.resolve()]
    return None not in known and [Path(path).resolve() for path in known] == wanted


def _check_name(name: str) -> None:
    if name not in DatasetCatalog:
        known = ", ".join(sorted(DatasetCatalog))
        raise ValueError(
            f"no data set is called '{name}'; define it in DATASETS.CUSTOM or use one of {known}"
        )


def _check_task(where: str, task: str) -> None:
    if task not in READERS:
        raise ValueError(f"{where}: task '{task}' cannot be read; known: {', '.join(READERS)}")
