"""Everything that is wrong with a YouTube-VIS / OVIS data set on disk, in one list.

`schema.problems` reads the json alone; here its entries are held against the image files and
the pixels of the masks. Findings of one kind in one entry are told once, with their number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from dvis_daq.data.annotations import compress, load_json
from dvis_daq.data.errors import BrokenDataError
from dvis_daq.data.images import image_size, read_image
from dvis_daq.data.run_lengths import pixel_counts
from dvis_daq.data.schema import Problem, problems, sound_entries

OCCLUSION = ("no_occlusion", "slight_occlusion", "severe_occlusion")
AREA_TOLERANCE = 0.02  # of the area: polygons are counted in more than one way
BOX_TOLERANCE = 2  # pixels

Size = tuple[int, int]  # (height, width) in pixels


def check(
    json_file: Path,
    images: Path,
    *,
    decode: bool = False,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> list[Problem]:
    """All findings, errors and warnings.

    Args:
        json_file: YouTube-VIS / OVIS json.
        images: folder that its file names are relative to.
        decode: read every frame to its end (finds damaged files) and not only its header.
        progress: wraps the list of videos, e.g. `tqdm`.

    Raises:
        ValueError: the file is missing or no json.
    """
    content = load_json(json_file)
    found = list(problems(content))
    if any(p.entry == "top level" for p in found):
        return found
    videos = dict(sound_entries(content, "videos", found))
    annotations = dict(sound_entries(content, "annotations", found))
    owner: dict[str, str] = {}
    for entry, video in progress(list(videos.items())):
        names = video["file_names"][: video["length"]]
        size = (video["height"], video["width"])
        found += check_frames(entry, names, images, size, decode=decode, owner=owner)
    by_id = {video["id"]: video for video in videos.values()}
    for entry, item in annotations.items():
        if item["video_id"] in by_id:
            found += _track(entry, item, by_id[item["video_id"]])
    found += _categories(content)
    if content.get("annotations"):
        annotated = {item["video_id"] for item in annotations.values()}
        for entry, video in videos.items():
            if video["id"] not in annotated:
                found.append(_warning(entry, "has no annotation", "training leaves it out"))
    return found


def check_frames(
    entry: str,
    names: Sequence[str],
    images: Path,
    size: Size,
    *,
    decode: bool,
    owner: dict[str, str],
) -> Iterator[Problem]:
    """Existence, size and order of the frames of a video.

    Args:
        entry: what findings call the video.
        names: its frames, relative to `images`.
        images: folder of all frames.
        size: (height, width) that they must have, pixels.
        decode: read them to their end.
        owner: entry by frame, of all videos so far; it is added to.
    """
    missing, damaged, odd = [], [], []
    for name in names:
        file = images / name
        if not file.is_file():
            missing.append(name)
            continue
        try:
            actual = tuple(read_image(file).shape[1:]) if decode else image_size(file)
        except BrokenDataError:
            damaged.append(name)
            continue
        if actual != size:
            odd.append(f"{name} {actual}")
    yield from _told(entry, "error", missing, "frames are not found",
                     f"check the image root {images}")  # fmt: skip
    yield from _told(entry, "error", damaged, "frames cannot be read", "copy the files again")
    yield from _told(entry, "error", odd, f"frames are not of the video's size {size}",
                     "correct height and width, or resize the frames")  # fmt: skip
    twice = [name for name in names if owner.setdefault(name, entry) != entry]
    twice += [name for name, count in Counter(names).items() if count > 1]
    yield from _told(entry, "error", twice, "frames are listed twice (here or in another video)",
                     "list every file once")  # fmt: skip


def _track(entry: str, item: dict[str, Any], video: dict[str, Any]) -> Iterator[Problem]:
    """Masks of one object against areas, boxes, occlusion levels and the frame."""
    size = (video["height"], video["width"])
    masks = [compress(mask, size) for mask in item["segmentations"]]
    runs = np.frombuffer(b"".join(masks), dtype=np.uint8)
    totals, areas = pixel_counts(runs, np.cumsum([0] + [len(mask) for mask in masks]))
    given = [mask is not None for mask in item["segmentations"]]
    broken = [t for t, mask in enumerate(masks) if mask and totals[t] != size[0] * size[1]]
    yield from _told(entry, "error", broken, "masks do not fill the frame", "encode them again")
    if broken:
        return
    empty = [t for t in range(len(masks)) if given[t] and not areas[t]]
    yield from _told(entry, "warning", empty, "masks have no pixel",
                     "use null where the object is absent")  # fmt: skip
    if not areas.any():
        yield _warning(entry, "the object is never visible", "training and evaluation drop it")
    yield from _areas(entry, item.get("areas"), areas)
    yield from _boxes(entry, item.get("bboxes"), masks, areas, size)
    yield from _occlusion(entry, item.get("occlusion"), given)


def _areas(entry: str, values: list[Any] | None, areas: np.ndarray) -> Iterator[Problem]:
    if values is None:
        return
    wrong = [
        t
        for t, (value, area) in enumerate(zip(values, areas.tolist(), strict=True))
        if abs((value or 0) - area) > 4 + AREA_TOLERANCE * area
    ]
    yield from _told(entry, "warning", wrong, "'areas' are not those of the masks",
                     "evaluators sort objects by size with them")  # fmt: skip


def _boxes(
    entry: str, values: list[Any] | None, masks: list[bytes], areas: np.ndarray, size: Size
) -> Iterator[Problem]:
    if values is None:
        return
    wrong = []
    for t, (value, mask) in enumerate(zip(values, masks, strict=True)):
        if value is None or not areas[t]:
            if (value is None) != (not areas[t]):
                wrong.append(t)
            continue
        box = rle.toBbox({"size": size, "counts": mask})
        if len(value) != 4 or np.abs(box - np.asarray(value, dtype=float)).max() > BOX_TOLERANCE:
            wrong.append(t)
    yield from _told(entry, "warning", wrong, "'bboxes' are not [x, y, width, height] of the masks",
                     "they are not used here; correct them for other tools")  # fmt: skip


def _occlusion(entry: str, values: list[Any] | None, given: list[bool]) -> Iterator[Problem]:
    if values is None:
        return
    unknown = [t for t, value in enumerate(values) if value is not None and value not in OCCLUSION]
    yield from _told(entry, "error", unknown, "'occlusion' levels are unknown",
                     f"use {', '.join(OCCLUSION)} or null")  # fmt: skip
    silent = [t for t, value in enumerate(values) if (value is None) == given[t]]
    yield from _told(entry, "warning", silent, "'occlusion' is null with a mask, or set without",
                     "give a level exactly where there is a mask")  # fmt: skip


def _categories(content: dict[str, Any]) -> Iterator[Problem]:
    """The category map: gaps, names used twice, classes without an object."""
    items = [c for c in content["categories"] if isinstance(c, dict) and "id" in c and "name" in c]
    ids = sorted(c["id"] for c in items)
    if ids != list(range(1, len(ids) + 1)):
        text = f"ids {ids[:8]}{'...' if len(ids) > 8 else ''} do not count 1, 2, 3, ..."
        yield _warning("categories", text, "class k is the k-th id; results are written with ids")
    for name, count in Counter(c["name"] for c in items).items():
        if count > 1:
            yield _warning("categories", f"name '{name}' is used {count} times", "rename one")
    used = {a.get("category_id") for a in content.get("annotations") or [] if isinstance(a, dict)}
    unused = [c["name"] for c in items if c["id"] not in used]
    if used and unused:
        text = f"{len(unused)} classes have no object: {', '.join(map(str, unused[:8]))}"
        yield _warning("categories", text, "a model cannot learn them from this file")


def _told(
    entry: str, level: str, where: Sequence[Any], text: str, remedy: str
) -> Iterator[Problem]:
    """One finding for all places `where` (file names or frame numbers), if there are any."""
    if where:
        first = f"first {where[0]}" if isinstance(where[0], str) else f"first in frame {where[0]}"
        yield Problem(level, entry, f"{len(where)} {text}, {first}", remedy)


def _warning(entry: str, text: str, remedy: str) -> Problem:
    return Problem("warning", entry, text, remedy)
