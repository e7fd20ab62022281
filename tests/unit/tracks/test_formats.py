"""Tracks in the formats of others: every number by hand, and read back by their own programs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from dvis_daq.tracks import Track, Video, VideoTracks
from dvis_daq.tracks.formats import coco_rle, coco_video, mot, youtube_vis


def box(x: int, y: int, width: int, height: int) -> dict:
    mask = np.zeros((8, 10), dtype=np.uint8, order="F")
    mask[y : y + height, x : x + width] = 1
    rle = coco_mask.encode(mask)
    return {"size": rle["size"], "counts": rle["counts"].decode()}


FIRST, SECOND, THIRD = box(0, 0, 3, 2), box(4, 1, 2, 5), box(1, 1, 9, 7)
CONTENT = VideoTracks(
    video=Video("clip", "in/clip.mp4", 8, 10, 25.0, 4),
    tracks=(
        Track(0, 1, "car", 0.9, 0, "vvhv", (0.9, 0.8, 0.1, 0.7), (FIRST, SECOND, SECOND, FIRST)),
        Track(5, 0, "cat", 0.5, 2, "v", (0.5,), (THIRD,)),
        Track(-4, 3, "class 3", 0.4, 1, "v", (0.4,), (THIRD,)),
    ),
    classes=("cat", "car"),
)


def test_coco_rle() -> None:
    content = coco_rle(CONTENT)
    assert [[o["id"] for o in frame] for frame in content["frames"]] == [[0], [0, -4], [0, 5], [0]]
    assert content["frames"][2][1] == {
        "id": 5, "class": "cat", "score": 0.5, "segmentation": THIRD
    }  # fmt: skip


def test_youtube_vis() -> None:
    first, second, _ = youtube_vis(CONTENT, video_id=7)
    assert first == {
        "video_id": 7, "score": 0.9, "category_id": 2,
        "segmentations": [FIRST, SECOND, SECOND, FIRST],
    }  # fmt: skip
    assert second["segmentations"] == [None, None, THIRD, None]


def test_mot() -> None:
    assert mot(CONTENT).splitlines() == [
        "1,1,0,0,3,2,0.9000,-1,-1,-1",
        "2,1,4,1,2,5,0.8000,-1,-1,-1",
        "3,6,1,1,9,7,0.5000,-1,-1,-1",  # and not the hidden track 0
        "4,1,0,0,3,2,0.7000,-1,-1,-1",
    ]


def test_coco_video_is_read_by_pycocotools(tmp_path: Path) -> None:
    path = tmp_path / "video.json"
    path.write_text(json.dumps(coco_video(CONTENT)))
    coco = COCO(str(path))
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == [
        "cat", "car", "class 2", "class 3"
    ]  # fmt: skip
    images = coco.loadImgs(coco.getImgIds())
    assert [image["frame_index"] for image in images] == [0, 1, 2, 3]
    annotations = coco.loadAnns(coco.getAnnIds(imgIds=[3]))
    assert [(a["track_id"], a["category_id"], a["area"]) for a in annotations] == [
        (1, 2, 10), (2, 1, 63)
    ]  # fmt: skip
    assert coco.annToMask(annotations[1]).sum() == 63
    tracks = coco.dataset["tracks"]
    assert [track["id"] for track in tracks] == [1, 2, 3]
