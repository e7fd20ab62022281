"""Classes of a data set, and how the classes of one data set become those of another."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

UNMAPPED = -1


@dataclass(frozen=True)
class Categories:
    """Classes in the order of a model's class head: things by id, then stuff by id.

    Attributes:
        ids: of the annotation files.
        names: one a class.
        isthing: whether a class has objects; stuff has regions.
        colors: RGB 0..255 for pictures, empty where the file gives none.
    """

    ids: tuple[int, ...]
    names: tuple[str, ...]
    isthing: tuple[bool, ...]
    colors: tuple[tuple[int, int, int], ...] = ()

    @classmethod
    def of(cls, items: Sequence[Mapping[str, Any]]) -> Categories:
        """From the `categories` of a json; without `isthing` a category is a thing."""
        items = sorted(items, key=lambda item: (not item.get("isthing", 1), item["id"]))
        colored = all("color" in item for item in items)
        return cls(
            ids=tuple(item["id"] for item in items),
            names=tuple(item["name"] for item in items),
            isthing=tuple(bool(item.get("isthing", 1)) for item in items),
            colors=tuple(tuple(item["color"]) for item in items) if colored else (),
        )

    @property
    def index(self) -> dict[int, int]:
        """Class index by id in the file."""
        return {category: k for k, category in enumerate(self.ids)}

    def to_json(self) -> list[dict[str, Any]]:
        """The `categories` of a json, in class order."""
        rows = zip(self.ids, self.names, self.isthing, strict=True)
        items = [{"id": i, "name": n, "isthing": int(thing)} for i, n, thing in rows]
        for item, color in zip(items, self.colors, strict=False):
            item["color"] = list(color)
        return items


def vipseg_categories() -> Categories:
    """The 124 classes of VIPSeg and VSPW, ids 0..123, 58 of them things."""
    return Categories.of(_packaged("vipseg.json"))


def load_categories(file: Path) -> Categories:
    """Classes of a json that is a list of {id, name, isthing}, or has one as `categories`.

    Raises:
        ValueError: the file is missing or has another content.
    """
    try:
        content = json.loads(Path(file).read_bytes())
        return Categories.of(content["categories"] if isinstance(content, dict) else content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{file}: cannot be read as classes ({error!r}); expected a list of "
            '{"id": 0, "name": "wall", "isthing": 0}'
        ) from error


def category_maps() -> dict[str, dict[str, str]]:
    """The released maps by name: class name of the source -> class name of the target."""
    return _packaged("maps.json")


def class_table(
    source: Sequence[str], target: Sequence[str], names: Mapping[str, str] | None = None
) -> np.ndarray:
    """Which class of a target data set each class of a source counts as.

    Args:
        source: its class names.
        target: class names of the data set that is trained for.
        names: source name -> target name; classes that it does not name are left out.
            None: both have the same names, in any order.

    Returns:
        (len(source),) int64 class index in `target`, `UNMAPPED` where there is none.

    Raises:
        ValueError: a name does not exist; the message lists the odd ones.
    """
    if names is None:
        odd = sorted(set(source) ^ set(target))
        if odd:
            raise ValueError(
                f"other classes ({', '.join(odd[:5])}); give both the same categories, or a MAP "
                "in DATASETS.CUSTOM"
            )
        names = {name: name for name in source}
    unknown = sorted((set(names) - set(source)) | (set(names.values()) - set(target)))
    if unknown:
        names_text = ", ".join(unknown[:5])
        raise ValueError(f"no classes {names_text}, which the MAP of the first names; correct it")
    place = {name: k for k, name in enumerate(target)}
    mapped = [place[names[name]] if name in names else UNMAPPED for name in source]
    return np.array(mapped, dtype=np.int64)


def _packaged(name: str) -> Any:
    return json.loads((resources.files("dvis_daq.data") / "categories" / name).read_bytes())
