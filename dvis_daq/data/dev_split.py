"""A development split cut from a training set, so that figures can be had without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dvis_daq.data.annotations import load_json, require_sound
from dvis_daq.data.files import write_json


def dev_files(json_file: Path) -> tuple[Path, Path]:
    """Where the two parts go: `train` in the name becomes `dev_train` and `dev_val`."""
    stem = json_file.stem
    if "train" not in stem:
        stem = f"{stem}_train"
    before, after = stem.rsplit("train", 1)
    names = [f"{before}dev_{part}{after}.json" for part in ("train", "val")]
    return json_file.with_name(names[0]), json_file.with_name(names[1])


def split(json_file: Path, every: int) -> dict[str, dict[str, int]]:
    """Writes the two parts beside a YouTube-VIS / OVIS json.

    Of the videos sorted by id, number every-1, 2*every-1, ... are the validation part. The same
    file gives the same parts, whatever the order of its entries.

    Args:
        json_file: training json with annotations.
        every: at least 2; 10 keeps a tenth.

    Returns:
        Numbers of `videos`, `annotations` and `classes` in `train` and `val`.

    Raises:
        ValueError: the file is broken, has no annotations, or is too small.
    """
    content = load_json(json_file)
    require_sound(content, json_file)
    ids = sorted(video["id"] for video in content["videos"])
    chosen = set(ids[every - 1 :: every])
    if every < 2 or not chosen:
        raise ValueError(f"{json_file}: of {len(ids)} videos every {every}th leaves an empty part")
    if not content.get("annotations"):
        raise ValueError(f"{json_file}: has no annotations; cut the split from a training file")
    parts = {"train": set(ids) - chosen, "val": chosen}
    counts = {}
    for (name, videos), file in zip(parts.items(), dev_files(json_file), strict=True):
        part = _part(content, videos)
        write_json(file, part)
        classes = {item["category_id"] for item in part["annotations"]}
        counts[name] = {
            "videos": len(part["videos"]),
            "annotations": len(part["annotations"]),
            "classes": len(classes),
        }
    return counts


def _part(content: dict[str, Any], videos: set[int]) -> dict[str, Any]:
    chosen = {
        "videos": [video for video in content["videos"] if video["id"] in videos],
        "annotations": [a for a in content["annotations"] if a["video_id"] in videos],
    }
    return {**content, **chosen}
