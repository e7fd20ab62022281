"""COCO instances to the still images of joint training: objects of classes that the target has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from dvis_daq.data.annotations import load_json
from dvis_daq.data.classes import category_maps
from dvis_daq.data.files import write_json

TARGETS = ("ovis", "ytvis_2019", "ytvis_2021")


def output_name(target: str, split: str) -> str:
    """As the table of data sets names it, e.g. coco2ovis_train.json."""
    return f"coco2{target.replace('_', '')}_{split}.json"


def write_coco_json(
    content: dict[str, Any],
    output: Path,
    target: str,
    *,
    drop_empty: bool = False,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> dict[str, int]:
    """Writes the annotations of mapped classes; category ids stay those of COCO.

    Args:
        content: parsed instances json of COCO.
        output: the json.
        target: one of `TARGETS`.
        drop_empty: leave out images without such an annotation. Training does so anyway
            (DATALOADER.FILTER_EMPTY_ANNOTATIONS); the file gets smaller.
        progress: wraps the list of annotations, e.g. `tqdm`.

    Returns:
        Numbers of `images`, `annotated` images, `annotations`, `classes`.

    Raises:
        ValueError: a class of the map is not in `content`.
    """
    names = {category["name"]: category["id"] for category in content["categories"]}
    mapped = category_maps()[f"coco_to_{target}"]
    unknown = sorted(set(mapped) - set(names))
    if unknown:
        raise ValueError(
            f"categories lack {', '.join(unknown[:5])}; is it an instances json of COCO?"
        )
    wanted = {names[name] for name in mapped}
    kept = [item for item in progress(content["annotations"]) if item["category_id"] in wanted]
    annotated = {item["image_id"] for item in kept}
    images = content["images"]
    if drop_empty:
        images = [image for image in images if image["id"] in annotated]
    write_json(output, {**content, "images": images, "annotations": kept})
    return {
        "images": len(images),
        "annotated": len(annotated),
        "annotations": len(kept),
        "classes": len({item["category_id"] for item in kept}),
    }


def read_coco(json_file: Path) -> dict[str, Any]:
    """Parses an instances json of COCO.

    Raises:
        ValueError: it is missing, cut short, or another kind of file.
    """
    content = load_json(json_file)
    keys = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in keys):
        raise ValueError(
            f"{json_file}: needs the lists {', '.join(keys)}; is it an instances json?"
        )
    return content
