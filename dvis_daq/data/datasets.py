"""The data sets by name: the table of public splits, and those that a configuration defines.

Names are registered with Detectron2's catalogs without reading anything; a file is read when
its name is asked for. Metadata of a name: `task`, `json_file`, `image_root`, `mask_root`, and
once read its classes: `classes` (names in class order, things first), `thing_classes`,
`stuff_classes`, `thing_dataset_id_to_contiguous_id` and `categories` (id, name, isthing).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from dvis_daq.data.annotations import Record
from dvis_daq.data.classes import Categories
from dvis_daq.data.errors import Skipped
from dvis_daq.data.sources import (
    READERS,
    Source,
    parse_custom,
    read_classes,
    same_place,
)
from dvis_daq.data.splits import SPLITS

ROOT_VARIABLE = "DETECTRON2_DATASETS"


def register_all(root: str | Path | None = None) -> None:
    """Registers the table; names that exist already stay as they are.

    Args:
        root: folder of all data sets; None takes DETECTRON2_DATASETS, or `datasets`.
    """
    root = Path(root or os.environ.get(ROOT_VARIABLE, "datasets"))
    for name, split in SPLITS.items():
        if name not in DatasetCatalog:
            _register(name, split.under(root))


def register_custom(
    entries: Sequence[Mapping[str, Any]], base_dir: str | Path | None = None
) -> None:
    """Registers the data sets that a configuration defines (`DATASETS.CUSTOM`).

    The same definition may come twice.

    Args:
        entries: mappings with NAME, TASK and the paths that the task needs.
        base_dir: start of relative paths, the working directory if None.

    Raises:
        ValueError: a key is missing or unknown, a path does not exist, the task cannot be read,
            or the name belongs to another data set.
    """
    for i, entry in enumerate(entries):
        where = f"DATASETS.CUSTOM[{i}]"
        name, source = parse_custom(entry, where, Path(base_dir or "."))
        if name not in DatasetCatalog:
            _register(name, source)
            continue
        known = MetadataCatalog.get(name).get("source")
        if known is None or not same_place(known, source):
            raise ValueError(f"{where}: the name '{name}' is taken; choose another NAME")


def load(name: str, skipped: Skipped | None = None) -> list[Record]:
    """Records of a registered data set.

    Args:
        skipped: broken entries are left out and noted here; None raises.

    Raises:
        ValueError: no such name, no such file, or the file is broken.
    """
    _check_name(name)
    known = MetadataCatalog.get(name).get("source")
    return DatasetCatalog.get(name) if known is None else _read(name, known, skipped)


def metadata(name: str) -> Any:
    """Detectron2's metadata of a registered data set, with its classes.

    Raises:
        ValueError: as `load`.
    """
    _check_name(name)
    entry = MetadataCatalog.get(name)
    if entry.get("classes") is None and entry.get("source") is not None:
        _set_classes(name, read_classes(entry.source))
    return entry


def source(name: str) -> Source:
    """Where a registered data set lies.

    Raises:
        ValueError: no such name, or another program registered it.
    """
    _check_name(name)
    found = MetadataCatalog.get(name).get("source")
    if found is None:
        raise ValueError(f"data set '{name}' was not registered here, so its files are not known")
    return found


def files(name: str) -> tuple[Path, Path]:
    """Annotation file and image root of a registered data set; see `source`."""
    found = source(name)
    return found.json, found.images


def _register(name: str, source: Source) -> None:
    DatasetCatalog.register(name, partial(_read, name, source))
    masks = source.images if source.task == "vss" else source.masks
    MetadataCatalog.get(name).set(
        task=source.task,
        source=source,
        json_file=str(source.json),
        image_root=str(source.images),
        mask_root=None if masks is None else str(masks),
    )


def _read(name: str, source: Source, skipped: Skipped | None = None) -> list[Record]:
    if not source.json.is_file():
        raise ValueError(
            f"data set '{name}': {source.json} not found; set {ROOT_VARIABLE} to the folder "
            "of the data sets (layout: datasets/README.md)"
        )
    records, categories = READERS[source.task](source, skipped)
    _set_classes(name, categories)
    return records


def _set_classes(name: str, categories: Categories) -> None:
    entry = MetadataCatalog.get(name)
    rows = list(zip(categories.names, categories.isthing, strict=True))
    all_stuff = entry.task == "vss"  # no objects are told apart
    entry.set(
        classes=list(categories.names),
        thing_classes=[n for n, thing in rows if thing and not all_stuff],
        stuff_classes=[n for n, thing in rows if not thing or all_stuff],
        thing_dataset_id_to_contiguous_id=categories.index,
        categories=categories.to_json(),
    )


def _check_name(name: str) -> None:
    if name not in DatasetCatalog:
        known = ", ".join(sorted(DatasetCatalog))
        raise ValueError(
            f"no data set is called '{name}'; define it in DATASETS.CUSTOM or use one of {known}"
        )
