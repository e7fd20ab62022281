"""Label images in folders, one a video: ground truth and results of semantic and object tasks."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

Images = dict[str, dict[str, Path]]  # files by video and by name of the frame, both sorted


def read_video_names(path: str | Path) -> list[str]:
    """Videos of a split.

    Args:
        path: text with one name a line; or a json: a list of names, or an object whose `videos`
            have `file_names` "<video>/<frame>.jpg" or a `video_id`.

    Raises:
        ValueError: no name, a repeated one, or another content.
    """
    text = Path(path).read_text(encoding="utf-8")
    names = _from_json(path, text) if Path(path).suffix == ".json" else text.split()
    if not names:
        raise ValueError(f"{path} names no video")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{path} names the video '{twice[0]}' twice")
    return sorted(names)


def _from_json(path: str | Path, text: str) -> list[str]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} is not a json file: {error}") from None
    videos = content.get("videos") if isinstance(content, dict) else content
    if not isinstance(videos, list):
        raise ValueError(f"{path} must be a list of video names, or have a list 'videos'")
    return [_name(video, f"{path}: videos[{i}]") for i, video in enumerate(videos)]


def _name(video: Any, place: str) -> str:
    if isinstance(video, str):
        return video
    files = video.get("file_names") if isinstance(video, dict) else None
    name = str(PurePosixPath(files[0]).parent) if files else video.get("video_id")
    if not isinstance(name, str) or name in ("", "."):
        raise ValueError(f"{place} needs 'file_names' like <video>/<frame>.jpg or a 'video_id'")
    return name


def find_images(root: str | Path, videos: Iterable[str], folder: str = "") -> Images:
    """All PNGs of some videos.

    Args:
        root: has <video>/<frame>.png, or <video>/<folder>/<frame>.png.
        videos: names.

    Raises:
        ValueError: a video has no PNG there.
    """
    found: Images = {}
    for video in videos:
        place = Path(root, video, folder)
        found[video] = {path.stem: path for path in sorted(place.glob("*.png"))}
        if not found[video]:
            raise ValueError(f"{place} has no PNG; it must hold one for each frame of the video")
    return found


def predictions_for(truth: Images, root: str | Path) -> Images:
    """The result of each frame of the ground truth, at <root>/<video>/<frame>.png.

    Raises:
        ValueError: one is missing.
    """
    found = {
        video: {name: Path(root, video, f"{name}.png") for name in frames}
        for video, frames in truth.items()
    }
    missing = [path for frames in found.values() for path in frames.values() if not path.is_file()]
    if missing:
        raise ValueError(
            f"{missing[0]} is missing, and {len(missing) - 1} others; write one PNG for each "
            "frame of the ground truth"
        )
    return found


def restricted(images: Images, chosen: Iterable[str], source: str) -> Images:
    """Only some videos.

    Raises:
        ValueError: a name is not there, or none is given.
    """
    wanted = {str(video) for video in chosen}
    unknown = sorted(wanted - images.keys())
    if unknown or not wanted:
        what = f"has no videos called {unknown[:10]}" if unknown else "needs at least one video"
        raise ValueError(f"{source} {what}")
    return {video: frames for video, frames in images.items() if video in wanted}
