"""Reads and checks the json files of video panoptic segmentation, ground truth and results.

As in `reading`, nothing is repaired in silence: a ValueError names the file, the entry and the
remedy. Whether json and PNG agree is seen when the pixels are read (`segment_counts`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from dvis_daq.metrics.panoptic import Category, Frames, PanopticFrame, PanopticTruth, Segment


def has_segments(path: str | Path) -> bool:
    """Whether any frame of a panoptic json lists a segment; test sets list none."""
    return _lists_segments(_load(path))


def _lists_segments(content: dict[str, Any]) -> bool:
    videos = content.get("annotations") or []
    return any(frame.get("segments_info") for v in videos for frame in v.get("annotations", ()))


def read_panoptic_truth(
    path: str | Path, root: str | Path, *, labelled: bool = True
) -> PanopticTruth:
    """Reads the ground truth of a split.

    Args:
        path: json with `videos`, `categories` and, by video and frame, `annotations`.
        root: folder with <video>/<frame>.png.
        labelled: whether segments are needed; without them only videos and classes are read.

    Raises:
        ValueError: a missing or repeated entry, an unknown category, no segment at all.
    """
    source, content = str(path), _load(path)
    categories: dict[int, Category] = {}
    for place, entry in _entries(content, "categories", source):
        number = _integer(entry, "id", place)
        _add_once(categories, number, _category(entry, number), place)
    names: dict[str, tuple[str, ...]] = {}
    sizes: dict[str, tuple[tuple[int, int], ...]] = {}
    for place, entry in _entries(content, "videos", source):
        video = _text(entry, "video_id", place)
        images = list(_entries(entry, "images", place))
        _add_once(names, video, tuple(_stem(image, at) for at, image in images), place)
        sizes[video] = tuple(
            (_integer(image, "height", at), _integer(image, "width", at)) for at, image in images
        )
    categories, names = dict(sorted(categories.items())), dict(sorted(names.items()))
    videos: dict[str, Frames] = {}
    if labelled:
        if not _lists_segments(content):
            raise ValueError(
                f"{source} lists no segments, so nothing can be scored against it; submit the "
                "results to the server of the data set or use a labelled split"
            )
        videos = _read_videos(content, Path(root), source, names, categories)
    return PanopticTruth(source, categories, videos, names, sizes)


def read_panoptic_results(
    path: str | Path, root: str | Path, truth: PanopticTruth
) -> dict[str, Frames]:
    """Frames of every video of the ground truth, from a pred.json.

    Args:
        root: folder with <video>/<frame>.png.

    Raises:
        ValueError: a video or a frame is missing, unknown or repeated, an unknown category.
    """
    content, source = _load(path), str(path)
    return _read_videos(content, Path(root), source, truth.names, truth.categories)


def _read_videos(
    content: dict[str, Any],
    root: Path,
    source: str,
    names: dict[str, tuple[str, ...]],
    categories: dict[int, Category],
) -> dict[str, Frames]:
    """Frames by video id, in the order of `names`."""
    found: dict[str, Frames] = {}
    for place, entry in _entries(content, "annotations", source):
        video = _text(entry, "video_id", place)
        if video not in names:
            raise ValueError(f"{place} is of video '{video}', which the ground truth does not have")
        frames = _read_frames(entry, place, names[video], categories)
        pngs = [root / video / f"{name}.png" for name in names[video]]
        _add_once(found, video, tuple(map(PanopticFrame, pngs, frames)), place)
    missing = [video for video in names if video not in found]
    if missing:
        raise ValueError(
            f"{source} lacks {len(missing)} of {len(names)} videos (first: '{missing[0]}'); list "
            "every video, with an empty 'segments_info' where nothing was found"
        )
    return {video: found[video] for video in names}


def _read_frames(
    entry: dict[str, Any], place: str, names: tuple[str, ...], categories: dict[int, Category]
) -> Iterator[tuple[Segment, ...]]:
    """Segments of each frame, in the order of `names`."""
    found: dict[str, tuple[Segment, ...]] = {}
    for at, frame in _entries(entry, "annotations", place):
        listed: dict[int, Segment] = {}
        for where, item in _entries(frame, "segments_info", at):
            segment = _segment(item, where, categories)
            _add_once(listed, segment.id, segment, where)
        _add_once(found, _stem(frame, at), tuple(listed.values()), at)
    missing, unknown = set(names) - found.keys(), found.keys() - set(names)
    if missing or unknown:
        what = f"lacks the frame '{min(missing)}'" if missing else f"has a frame '{min(unknown)}'"
        raise ValueError(
            f"{place} {what}: it must list the {len(names)} frames of the ground truth, "
            f"no others; it has {len(found)}"
        )
    return (found[name] for name in names)


def _segment(item: Any, place: str, categories: dict[int, Category]) -> Segment:
    number, category = _integer(item, "id", place), _integer(item, "category_id", place)
    if not 0 < number < 1 << 24:
        raise ValueError(f"{place} has the id {number}; ids are 1 to 2^24 - 1, 0 is void")
    if category not in categories:
        raise ValueError(
            f"{place} has the category_id {category}, which the ground truth does not have; "
            f"write data-set ids ({min(categories)}..{max(categories)})"
        )
    area = item.get("area", 0)
    if isinstance(area, bool) or not isinstance(area, (int, float)) or not 0 <= area < math.inf:
        raise ValueError(f"{place} has the area {area!r}; it counts pixels")
    return Segment(number, category, bool(item.get("iscrowd", 0)), int(area))


def _category(entry: dict[str, Any], number: int) -> Category:
    return Category(str(entry.get("name", number)), bool(entry.get("isthing", 1)))


def _load(path: str | Path) -> dict[str, Any]:
    try:
        content = json.loads(Path(path).read_bytes())
    except ValueError as error:  # also no unicode
        raise ValueError(f"{path} is not a json file: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a json object with a list 'annotations'")
    return content


def _entries(data: Any, key: str, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    values = data.get(key) if isinstance(data, dict) else None
    if not isinstance(values, list):
        raise ValueError(f"{place} needs a list '{key}'")
    for index, entry in enumerate(values):
        where = f"{place}{'.' if '[' in place else ': '}{key}[{index}]"
        if not isinstance(entry, dict):
            raise ValueError(f"{where} must be an object, not {entry!r:.60}")
        yield where, entry


def _integer(entry: dict[str, Any], key: str, place: str) -> int:
    value = entry.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{place} needs an integer '{key}', not {value!r}")
    return value


def _text(entry: dict[str, Any], key: str, place: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{place} needs a text '{key}', not {value!r}")
    return value


def _stem(entry: dict[str, Any], place: str) -> str:
    """Name of a frame without folder and ending: the jsons of a split say .jpg or .png."""
    return PurePosixPath(_text(entry, "file_name", place)).name.split(".")[0]


def _add_once(table: dict[Any, Any], key: Any, value: Any, place: str) -> None:
    if key in table:
        raise ValueError(f"{place} repeats {key!r}: every entry of a list needs its own")
    table[key] = value
