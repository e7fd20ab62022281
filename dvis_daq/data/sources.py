"""Where a data set lies on disk, and which reader each task has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from dvis_daq.data.annotations import Record, load_json, read_instances
from dvis_daq.data.classes import Categories, category_maps, load_categories, vipseg_categories
from dvis_daq.data.errors import Skipped
from dvis_daq.data.objects import read_objects
from dvis_daq.data.panoptic import read_panoptic
from dvis_daq.data.semantic import read_semantic
from dvis_daq.data.stills import read_stills

Contents = tuple[list[Record], Categories]


@dataclass(frozen=True)
class Source:
    """One data set, or one split of it.

    Attributes:
        task: what its annotations are, a key of `READERS`.
        json: annotation file; for `vss` the text file that lists the videos.
        images: folder of the frames.
        masks: folder of the PNGs of `vps`, or of the ground truth of `vos`.
        categories: json with the classes of `vss`; None means those of VSPW.
        class_map: class name -> class name of the data set that it is trained together with.
    """

    task: str
    json: Path
    images: Path
    masks: Path | None = None
    categories: Path | None = None
    class_map: Mapping[str, str] | None = None

    def under(self, root: Path) -> Source:
        """The same with relative paths put under `root`."""
        masks = None if self.masks is None else root / self.masks
        return replace(self, json=root / self.json, images=root / self.images, masks=masks)


def _instances(source: Source, skipped: Skipped | None) -> Contents:
    return read_instances(source.json, source.images, skipped)


def _stills(source: Source, skipped: Skipped | None) -> Contents:
    return read_stills(source.json, source.images, skipped)


def _panoptic(source: Source, skipped: Skipped | None) -> Contents:
    if source.masks is None:
        raise ValueError(f"{source.json}: panoptic data need the folder of their PNGs (MASKS)")
    return read_panoptic(source.json, source.images, source.masks, skipped)


def _semantic(source: Source, skipped: Skipped | None) -> Contents:
    return read_semantic(source.json, source.images, _semantic_classes(source), skipped)


def _semantic_classes(source: Source) -> Categories:
    return load_categories(source.categories) if source.categories else vipseg_categories()


def _objects(source: Source, skipped: Skipped | None) -> Contents:
    return read_objects(source.json, source.images, skipped)


READERS: dict[str, Callable[[Source, Skipped | None], Contents]] = {
    "vis": _instances,
    "image": _stills,
    "vps": _panoptic,
    "vss": _semantic,
    "vos": _objects,
}


def read_classes(source: Source) -> Categories:
    """The classes of a data set without its records.

    Raises:
        ValueError: the file is missing or broken.
    """
    if source.task == "vss":
        return _semantic_classes(source)
    content = load_json(source.json)
    if not isinstance(content, dict) or not isinstance(content.get("categories"), list):
        raise ValueError(f"{source.json}: has no list 'categories'")
    return Categories.of(content["categories"])


class Keys(NamedTuple):
    """Keys of an entry of `DATASETS.CUSTOM` beside NAME and TASK."""

    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()


CUSTOM_KEYS = {
    "vis": Keys(("JSON", "IMAGES"), ("MAP",)),
    "image": Keys(("JSON", "IMAGES"), ("MAP",)),
    "vps": Keys(("JSON", "IMAGES", "MASKS")),
    "vss": Keys(("SPLIT", "IMAGES"), ("CATEGORIES",)),
    "vos": Keys(("JSON", "IMAGES"), ("MASKS",)),
}
FILES, FOLDERS = ("JSON", "SPLIT", "CATEGORIES"), ("IMAGES", "MASKS")


def parse_custom(entry: Any, where: str, base: Path) -> tuple[str, Source]:
    """Name and source of an entry of `DATASETS.CUSTOM`.

    Args:
        entry: mapping with NAME, TASK and the keys of `CUSTOM_KEYS`.
        where: of the entry, for messages.
        base: start of relative paths.

    Raises:
        ValueError: a key is missing or unknown, a path does not exist, or no reader has the task.
    """
    if not isinstance(entry, Mapping) or not {"NAME", "TASK"} <= set(entry):
        raise ValueError(f"{where} must have the keys NAME and TASK; it is {entry}")
    where = f"{where} ('{entry['NAME']}')"
    check_task(where, entry["TASK"])
    keys = CUSTOM_KEYS[entry["TASK"]]
    found = set(entry) - {"NAME", "TASK"}
    if not set(keys.needed) <= found <= {*keys.needed, *keys.optional}:
        more = f", and may have {', '.join(keys.optional)}" if keys.optional else ""
        text = f"with TASK {entry['TASK']} must have the keys {', '.join(keys.needed)}{more}"
        raise ValueError(f"{where} {text}; it has {', '.join(sorted(found))}")
    paths = {key: base / entry[key] for key in (*FILES, *FOLDERS) if key in entry}
    for key, path in paths.items():
        if not (path.is_file() if key in FILES else path.is_dir()):
            kind = "file" if key in FILES else "folder"
            raise ValueError(f"{where}: {key} {path.absolute()} is no {kind}")
    source = Source(
        task=entry["TASK"],
        json=paths["SPLIT" if "SPLIT" in paths else "JSON"],
        images=paths["IMAGES"],
        masks=paths.get("MASKS"),
        categories=paths.get("CATEGORIES"),
        class_map=_class_map(entry.get("MAP"), where),
    )
    return entry["NAME"], source


def check_task(where: str, task: Any) -> None:
    """Raises ValueError for a task without a reader."""
    if task not in READERS:
        raise ValueError(f"{where}: task '{task}' cannot be read; known: {', '.join(READERS)}")


def _class_map(value: Any, where: str) -> Mapping[str, str] | None:
    """MAP: the name of a released map, or class names by class names."""
    if value is None or isinstance(value, Mapping):
        return value
    released = category_maps()
    if value not in released:
        names = ", ".join(released)
        raise ValueError(f"{where}: MAP '{value}' is no mapping of names and none of {names}")
    return released[value]


def same_place(a: Source, b: Source) -> bool:
    """Whether two sources mean the same files."""
    return a.task == b.task and _resolved(a) == _resolved(b) and a.class_map == b.class_map


def _resolved(source: Source) -> Sequence[Path | None]:
    paths = (source.json, source.images, source.masks, source.categories)
    return [path and path.resolve() for path in paths]
