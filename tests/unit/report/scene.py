"""A small video in which everything happens: born, hidden, back, gone, missed, ghosts, a switch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dvis_daq.metrics.reading import parse_ground_truth
from dvis_daq.metrics.tracks import GroundTruth
from dvis_daq.tracks import Track, Video, VideoTracks, write_tracks
from tests.unit.metrics.scene import Box, rle

SIZE = (96, 128)  # height, width
FRAMES = 10
EVIL = "<img src=x onerror=alert(1)>"


def boxes(x: int, y: int, when: range | list[int], *, dx: int = 2) -> list[Box | None]:
    return [(x + dx * t, y, 24, 20) if t in when else None for t in range(FRAMES)]


# The first is there from the start to the end, the second comes at 3, hides in 5-6 and goes
# after 8, the third is never found.
OBJECTS = [
    ("disc", boxes(8, 8, range(10))),
    (EVIL, boxes(30, 40, [3, 4, 7, 8])),
    ("square", boxes(80, 70, range(4, 10), dx=0)),
]


def track(number: int, name: str, there: list[Box | None], score: float, states: str) -> Track:
    born = next(t for t, box in enumerate(there) if box)
    masks = tuple(rle(box, SIZE) for box in there[born : born + len(states)])
    scores = tuple(score if letter == "v" else 0.05 for letter in states)
    return Track(number, 0, name, score, born, states, scores, masks)


def content(source: str = "clip") -> VideoTracks:
    tracks = (
        track(1, "disc", OBJECTS[0][1], 0.95, "v" * 10),
        track(2, EVIL, boxes(30, 40, [3, 4, 7, 8]), 0.8, "vvhhvv"),
        track(5, "disc", boxes(100, 4, [6, 7, 8, 9], dx=0), 0.4, "vvvv"),
    )
    return VideoTracks(
        video=Video("clip", source, *SIZE, fps=5.0, frames=FRAMES),
        tracks=tracks,
        classes=("disc", "square", EVIL),
    )


def annotations() -> dict[str, Any]:
    names = ["disc", "square", EVIL]
    return {
        "videos": [
            {"id": 7, "height": SIZE[0], "width": SIZE[1], "length": FRAMES,
             "file_names": [f"clip/{t:05d}.jpg" for t in range(FRAMES)]}
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(names, start=1)],
        "annotations": [
            {"id": n, "video_id": 7, "category_id": 1 + names.index(name), "iscrowd": 0,
             "segmentations": [rle(box, SIZE) for box in there]}
            for n, (name, there) in enumerate(OBJECTS, start=1)
        ],
    }  # fmt: skip


def truth() -> GroundTruth:
    return parse_ground_truth(annotations())


def pictures() -> list[np.ndarray]:
    """Grey frames with the objects in white."""
    frames = []
    for t in range(FRAMES):
        frame = np.full((*SIZE, 3), 90 + t, np.uint8)
        for _, there in OBJECTS:
            if there[t]:
                x, y, width, height = there[t]
                frame[y : y + height, x : x + width] = 230
        frames.append(frame)
    return frames


def write(folder: Path) -> dict[str, Path]:
    """tracks.json, gt.json, results.json and frames on disk."""
    images = folder / "images"
    (images / "clip").mkdir(parents=True)
    for t, frame in enumerate(pictures()):
        cv2.imwrite(str(images / "clip" / f"{t:05d}.jpg"), frame)
    made = content(str(images / "clip"))
    write_tracks(folder / "tracks.json", made)
    (folder / "gt.json").write_text(json.dumps(annotations()))
    names = {name: 1 + n for n, name in enumerate(["disc", "square", EVIL])}
    entries = [
        {"video_id": 7, "category_id": names[one.name], "score": one.score,
         "segmentations": [one.mask(t) for t in range(FRAMES)]}
        for one in made.tracks
    ]  # fmt: skip
    (folder / "results.json").write_text(json.dumps(entries))
    return {
        "tracks": folder / "tracks.json",
        "gt": folder / "gt.json",
        "results": folder / "results.json",
        "images": images,
    }
