"""Reads and checks ground truth (YouTube-VIS, OVIS) and results.json.

Nothing is repaired in silence: what cannot be scored as it stands gives a ValueError that
names the file, the entry and the remedy.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dvis_daq.metrics.masks import Size, covered_pixels, to_counts
from dvis_daq.metrics.tracks import GroundTruth, Masks, ObjectTrack, PredictedTrack, Video

OCCLUSION = {"no_occlusion": 0.0, "slight_occlusion": 0.25, "severe_occlusion": 0.75}
_MASKS_CHECKED = 5_000  # of one file, spread evenly: all of a small file, a sample of a large one
_CHUNK = 1 << 23  # characters of results.json that are read at once
_SEPARATOR = re.compile(r"[\s,]*")


def has_annotations(path: str | Path) -> bool:
    """Whether an annotation json has labels: `annotations` is there, no null and not empty."""
    data = _load(path)
    return isinstance(data, dict) and bool(data.get("annotations"))


def read_ground_truth(path: str | Path, *, labelled: bool = True) -> GroundTruth:
    """Reads an annotation json; see `parse_ground_truth`."""
    return parse_ground_truth(_load(path), str(path), labelled=labelled)


def _load(path: str | Path) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not a json file: {error}") from None


def parse_ground_truth(
    data: dict[str, Any], source: str = "ground truth", *, labelled: bool = True
) -> GroundTruth:
    """Checks the content of an annotation json.

    Args:
        data: with the lists `videos`, `categories` and `annotations`.
        source: file name, for messages.
        labelled: whether annotations are needed; without them only videos and categories are
            read.

    Raises:
        ValueError: no annotations (test sets: `null`, [] or a missing key), a missing field,
            ids that are double or unknown, masks of another number or size than the video's.
    """
    if not isinstance(data, dict) or (labelled and not data.get("annotations")):
        raise ValueError(
            f"{source} has no annotations, so nothing can be scored against it; "
            "submit the results to the server of the data set or use a labelled split"
        )
    videos: dict[int, Video] = {}
    for place, entry in _entries(data, "videos", source):
        video = Video(*(_integer(entry, key, place) for key in ("id", "height", "width", "length")))
        _add_once(videos, video.id, video, place)
    categories: dict[int, str] = {}
    for place, entry in _entries(data, "categories", source):
        number = _integer(entry, "id", place)
        _add_once(categories, number, str(entry.get("name", number)), place)
    tracks: dict[int, ObjectTrack] = {}
    for place, entry in _entries(data, "annotations", source) if labelled else ():
        track = _object_track(entry, place, videos, categories)
        _add_once(tracks, track.id, track, place)
    truth = GroundTruth(
        source, dict(sorted(videos.items())), dict(sorted(categories.items())), (*tracks.values(),)
    )
    _check_runs(truth.tracks, truth, f"{source}: annotations")
    return truth


def read_results(path: str | Path, truth: GroundTruth) -> list[PredictedTrack]:
    """Reads results.json entry by entry, so that only its masks stay in memory.

    Raises:
        ValueError: not a list of entries with video_id, category_id, score and segmentations;
            an unknown id, a score that is no finite number, masks of another number or size
            than the video's.
    """
    source = str(path)
    tracks = [_predicted_track(entry, i, source, truth) for i, entry in _stream(Path(path))]
    _check_runs(tracks, truth, f"{source}: entries")
    return tracks


def parse_results(
    entries: list[dict[str, Any]], truth: GroundTruth, source: str = "results"
) -> list[PredictedTrack]:
    """Checks entries that are in memory already; raises as `read_results`."""
    tracks = [_predicted_track(e, i, source, truth) for i, e in enumerate(entries)]
    _check_runs(tracks, truth, f"{source}: entries")
    return tracks


def read_ids(text: str) -> list[str]:
    """Video ids or names, as "3,17,20" or the name of a file with them (text or a json list)."""
    content = Path(text).read_text(encoding="utf-8") if Path(text).is_file() else text
    return re.split(r"[\s,\[\]\"]+", content.strip('"[], \n\r\t'))


def _stream(path: Path) -> Iterator[tuple[int, Any]]:
    """Yields (index, entry) of a json list; holds a few entries of the file at once."""
    decode = json.JSONDecoder().raw_decode
    with open(path, encoding="utf-8") as file:
        text = file.read(_CHUNK).lstrip()
        if not text.startswith("["):
            raise ValueError(f"{path} must hold a json list of results, one entry a track")
        index, position = 0, 1
        while True:
            position = _SEPARATOR.match(text, position).end()  # type: ignore[union-attr]
            if text.startswith("]", position):
                return
            try:
                entry, position = decode(text, position)
            except json.JSONDecodeError as error:
                more = file.read(_CHUNK)  # the entry may go on there
                if not more:
                    where = f"{path} is cut off or no json, entries[{index}]"
                    raise ValueError(f"{where}: {error.msg}; write it again") from None
                text, position = text[position:] + more, 0
                continue
            yield index, entry
            index += 1


def _entries(data: dict[str, Any], key: str, source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if not isinstance(data.get(key), list):
        raise ValueError(f"{source} needs a list '{key}'")
    for index, entry in enumerate(data[key]):
        yield f"{source}: {key}[{index}]", entry


def _integer(entry: Any, key: str, place: str) -> int:
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{place} needs an integer '{key}', not {value!r}")
    return value


def _add_once(table: dict[int, Any], number: int, value: Any, place: str) -> None:
    if number in table:
        raise ValueError(f"{place} repeats the id {number}: ids must be unique in their list")
    table[number] = value


def _known(entry: Any, key: str, table: dict[int, Any], place: str, remedy: str) -> int:
    value = _integer(entry, key, place)
    if value not in table:
        raise ValueError(f"{place} has the {key} {value}, which {remedy}")
    return value


def _object_track(
    entry: Any, place: str, videos: dict[int, Video], categories: dict[int, str]
) -> ObjectTrack:
    number = _integer(entry, "id", place)
    video_id = _known(entry, "video_id", videos, place, "is not in 'videos'")
    category_id = _known(entry, "category_id", categories, place, "is not in 'categories'")
    masks = _masks(entry, videos[video_id], place)
    area = _mean_area(entry, place, len(masks))
    occlusion = _occlusion(entry.get("occlusion"), place)
    crowd = bool(entry.get("iscrowd", 0))
    return ObjectTrack(number, video_id, category_id, masks, crowd, area, occlusion)


def _predicted_track(entry: Any, index: int, source: str, truth: GroundTruth) -> PredictedTrack:
    place = f"{source}: entries[{index}]"
    remedy = f"{truth.source} does not have; use the ground truth that the results were made for"
    video_id = _known(entry, "video_id", truth.videos, place, remedy)
    remedy = f"{truth.source} does not have; write data-set ids ({_span(truth.categories)})"
    category_id = _known(entry, "category_id", truth.categories, place, remedy)
    score = entry.get("score")
    if isinstance(score, bool) or not isinstance(score, (int, float)) or not math.isfinite(score):
        raise ValueError(f"{place} has the score {score!r}; scores must be finite numbers")
    masks = _masks(entry, truth.videos[video_id], place)
    return PredictedTrack(index, video_id, category_id, float(score), masks)


def _span(table: dict[int, Any]) -> str:
    return f"{min(table)}..{max(table)}" if table else "none"


def _masks(entry: dict[str, Any], video: Video, place: str) -> Masks:
    segmentations = entry.get("segmentations")
    if not isinstance(segmentations, list) or len(segmentations) != video.length:
        count = len(segmentations) if isinstance(segmentations, list) else "no"
        raise ValueError(
            f"{place} has {count} segmentations, video {video.id} has {video.length} frames; "
            "write one entry a frame, null where the track is absent"
        )
    size, masks = video.size, []
    try:
        for segmentation in segmentations:
            masks.append(to_counts(segmentation, size))
    except ValueError as error:
        raise ValueError(f"{place}, frame {len(masks)} of video {video.id}: {error}") from None
    return tuple(masks)


def _mean_area(entry: dict[str, Any], place: str, frames: int) -> float | None:
    """Mean of the given areas that are neither null nor zero; None without `areas`."""
    areas = entry.get("areas")
    if areas is None:
        return None
    if not isinstance(areas, list) or len(areas) != frames:
        raise ValueError(f"{place} needs one entry of 'areas' for each of the {frames} frames")
    visible = [area for area in areas if area]
    return sum(visible) / len(visible) if visible else 0.0


def _occlusion(levels: list[str | None] | None, place: str) -> float | None:
    """Mean over the more occluded half of the frames that have a level; 0 if none has."""
    if levels is None:
        return None
    unknown = sorted({str(level) for level in levels if level is not None} - OCCLUSION.keys())
    if unknown:
        raise ValueError(f"{place} has the occlusion {unknown}; known are {list(OCCLUSION)}")
    values = sorted((OCCLUSION[level] for level in levels if level is not None), reverse=True)
    half = values[: math.ceil(len(values) / 2)]
    return sum(half) / len(half) if half else 0.0


def _check_runs(
    tracks: Sequence[PredictedTrack] | Sequence[ObjectTrack], truth: GroundTruth, place: str
) -> None:
    """Refuses masks whose runs do not fill the frame; pycocotools would never come back.

    Args:
        place: of the list that the tracks come from, for messages.
    """
    masks_of = [track.masks for track in tracks]
    places = [(i, t) for i, masks in enumerate(masks_of) for t, m in enumerate(masks) if m]
    step = -(-len(places) // _MASKS_CHECKED) or 1
    by_size: dict[Size, list[tuple[int, int]]] = {}
    for i, t in places[::step]:
        by_size.setdefault(truth.videos[tracks[i].video_id].size, []).append((i, t))
    for size, sample in by_size.items():
        chosen: list[Any] = [masks_of[i][t] for i, t in sample]
        pixels = size[0] * size[1]
        for (i, t), covered in zip(sample, covered_pixels(chosen, size), strict=True):
            if covered != pixels:
                raise ValueError(
                    f"{place}[{i}], frame {t} of video {tracks[i].video_id}: the RLE covers "
                    f"{covered} pixels, the frame has {pixels}; encode it again"
                )
