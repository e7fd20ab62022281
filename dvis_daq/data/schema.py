"""What a YouTube-VIS / OVIS json must look like, and what is wrong with one that does not.

`problems` lists every fault of the parsed file that can be seen without opening an image or
decoding a mask. The reader stops at the first error; `tools/dataset.py check` shows them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from dvis_daq.data.files import MAX_PIXELS, leaves_root, natural_order
from dvis_daq.data.shapes import LIMIT

VIDEO_KEYS = {"id": int, "width": int, "height": int, "length": int, "file_names": list}
CATEGORY_KEYS = {"id": int, "name": str}
ANNOTATION_KEYS = {"id": int, "video_id": int, "category_id": int, "segmentations": list}
FRAME_LISTS = ("segmentations", "bboxes", "areas", "occlusion")

FAR = 2**16  # pixels; an outline is walked pixel by pixel
MIN_POLYGON = 6  # values: three corners


class Problem(NamedTuple):
    """One finding. An error stops the reader, a warning does not."""

    level: str  # "error" | "warning"
    entry: str  # where in the file, e.g. "annotations[3] (id 4)"
    text: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.entry}: {self.text}; {self.remedy}"


def problems(content: Any) -> Iterator[Problem]:
    """Every fault of a parsed YouTube-VIS / OVIS json, in the order of the file.

    Args:
        content: what `json.load` returned.
    """
    if not isinstance(content, dict):
        yield _error("top level", "is not an object", "expected keys videos, categories")
        return
    sections = ["videos", "categories"]
    if content.get("annotations") is not None:  # missing or null: a test set
        sections.append("annotations")
    faults = [name for name in sections if not isinstance(content.get(name), list)]
    for name in faults:
        yield _error("top level", f"key '{name}' is missing or not a list", f"add '{name}'")
    if faults:
        return
    videos: dict[int, dict[str, Any]] = {}
    categories: dict[int, dict[str, Any]] = {}
    yield from _section(content, "videos", VIDEO_KEYS, _video, videos)
    yield from _section(content, "categories", CATEGORY_KEYS, lambda *_: iter(()), categories)
    if not categories:
        yield _error("categories", "is empty", "list the classes of the data set")
    if "annotations" in sections:

        def check(entry: str, item: dict[str, Any]) -> Iterator[Problem]:
            return _annotation(entry, item, videos, categories)

        yield from _section(content, "annotations", ANNOTATION_KEYS, check, {})


def sound_entries(
    content: dict[str, Any], section: str, found: Iterable[Problem]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Entries of a section without an error among `found`, by the name that findings give them."""
    broken = {problem.entry.split(", frame")[0] for problem in found if problem.level == "error"}
    for i, item in enumerate(content.get(section) or []):
        entry = _name(section, i, item)
        if entry not in broken:
            yield entry, item


def _name(section: str, place: int, item: Any) -> str:
    if isinstance(item, dict) and isinstance(item.get("id"), int):
        return f"{section}[{place}] (id {item['id']})"
    return f"{section}[{place}]"


def _section(
    content: dict[str, Any], name: str, keys: dict[str, type], check: Any, found: dict[int, Any]
) -> Iterator[Problem]:
    """Faults of one list of the file; collects its sound items by id in `found`."""
    for i, item in enumerate(content[name]):
        entry = _name(name, i, item)
        if not isinstance(item, dict):
            yield _error(entry, "is not an object", "remove it or write it as an object")
            continue
        wrong = [key for key, kind in keys.items() if not _is(item.get(key), kind)]
        for key in wrong:
            state = "missing" if key not in item else f"{item[key]!r:.60}"
            yield _error(entry, f"key '{key}' is {state}", f"expected {keys[key].__name__}")
        if wrong:
            continue
        if item["id"] in found:
            yield _error(entry, "another entry has the same id", "give every entry its own id")
            continue
        found[item["id"]] = item
        yield from check(entry, item)


def _is(value: Any, kind: type) -> bool:
    if kind is int and isinstance(value, int) and abs(value) >= LIMIT:
        return False
    return isinstance(value, kind) and not isinstance(value, bool)


def _video(entry: str, video: dict[str, Any]) -> Iterator[Problem]:
    for key in ("width", "height", "length"):
        if video[key] < 1:
            yield _error(entry, f"'{key}' is {video[key]}", "it counts pixels or frames, from 1")
    if video["width"] * video["height"] > MAX_PIXELS:
        text = f"a frame of {video['width']} x {video['height']} pixels"
        yield _error(entry, text, f"correct the size, at most {MAX_PIXELS} are read")
    names = video["file_names"]
    if len(names) < video["length"]:
        text = f"'length' is {video['length']} but there are {len(names)} file_names"
        yield _error(entry, text, "list every frame or correct 'length'")
    elif len(names) > video["length"]:
        text = f"{len(names) - video['length']} file_names beyond 'length' are not used"
        yield _warning(entry, text, "correct 'length' if they belong to the video")
    strange = [name for name in names if not isinstance(name, str) or not name]
    if strange:
        yield _error(entry, f"file name {strange[0]!r} is not a string", "give a relative path")
        return
    used = names[: video["length"]]
    if used != sorted(used, key=natural_order):
        yield _error(entry, "file_names are not in temporal order", "sort them")
    for name in names:
        if leaves_root(name):
            text = f"file name '{name}' leaves the image root"
            yield _error(entry, text, "use paths relative to the image root, without '..'")


def _annotation(
    entry: str,
    item: dict[str, Any],
    videos: dict[int, dict[str, Any]],
    categories: dict[int, dict[str, Any]],
) -> Iterator[Problem]:
    video = videos.get(item["video_id"])
    if item["category_id"] not in categories:
        text = f"category_id {item['category_id']} is not in 'categories'"
        yield _error(entry, text, f"known ids: {_shown(categories)}")
    if video is None:
        text = f"video_id {item['video_id']} is not a sound entry of 'videos'"
        yield _error(entry, text, "add or repair the video, or remove the annotation")
        return
    for key in FRAME_LISTS:
        values = item.get(key)
        if values is not None and (not isinstance(values, list) or len(values) != video["length"]):
            have = f"{len(values)} entries" if isinstance(values, list) else "no list"
            text = f"'{key}' has {have} but video {video['id']} has {video['length']} frames"
            yield _error(entry, text, "give one entry per frame, null where the object is absent")
    for t, mask in enumerate(item["segmentations"]):
        if mask is not None:
            yield from _mask(f"{entry}, frame {t}", mask, (video["height"], video["width"]))


def _mask(entry: str, mask: Any, size: tuple[int, int]) -> Iterator[Problem]:
    """Faults of one mask of a frame of `size` (height, width)."""
    if isinstance(mask, list):
        yield from _polygons(entry, mask)
        return
    if not isinstance(mask, dict) or "size" not in mask or "counts" not in mask:
        text = f"segmentation is neither null, an RLE nor polygons: {mask!r:.60}"
        yield _error(entry, text, 'write {"size": [height, width], "counts": ...} or polygons')
        return
    if not isinstance(mask["size"], list) or tuple(mask["size"]) != size:
        text = f"RLE size is {mask['size']} but the video is {list(size)} (height, width)"
        yield _error(entry, text, "encode the mask at the size of the video")
    counts = mask["counts"]
    if isinstance(counts, list):
        sound = all(isinstance(n, int) and n >= 0 for n in counts)
        if not sound or sum(counts) != size[0] * size[1]:
            total = sum(counts) if sound else "no list of whole numbers"
            text = f"RLE counts add up to {total}, not to {size[0]} x {size[1]}"
            yield _error(entry, text, "encode the mask again")
    elif not isinstance(counts, str):
        text = f"RLE counts are of type {type(counts).__name__}"
        yield _error(entry, text, "expected a string (compressed) or a list of run lengths")


def _polygons(entry: str, polygons: list[Any]) -> Iterator[Problem]:
    if not all(isinstance(p, list) for p in polygons):
        text = "polygons are not a list of lists"
        yield _error(entry, text, "write [[x, y, x, y, ...], ...] even for a single polygon")
        return
    if not all(within_reach(polygon) for polygon in polygons):
        yield _error(entry, "a polygon holds something that is no number", "repair the polygon")
        return
    broken = [p for p in polygons if not is_polygon(p)]
    if broken or not polygons:
        text = f"{len(broken)} of {len(polygons)} polygons have an odd length or under 3 corners"
        yield _warning(entry, text, "they are dropped; use null where the object is absent")


def within_reach(values: list[Any]) -> bool:
    """Whether the values of a polygon are numbers that a frame of any size could hold."""
    return all(
        isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) <= FAR for v in values
    )


def is_polygon(values: list[float]) -> bool:
    """Whether flat [x, y, ...] values are a polygon: pairs, three corners at least."""
    return len(values) % 2 == 0 and len(values) >= MIN_POLYGON


def _shown(ids: dict[int, Any], limit: int = 12) -> str:
    shown = ", ".join(str(i) for i in sorted(ids)[:limit])
    return shown + (", ..." if len(ids) > limit else "")


def _error(entry: str, text: str, remedy: str) -> Problem:
    return Problem("error", entry, text, remedy)


def _warning(entry: str, text: str, remedy: str) -> Problem:
    return Problem("warning", entry, text, remedy)
