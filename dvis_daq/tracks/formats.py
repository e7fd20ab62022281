"""`VideoTracks` in the formats of others, each a pure function.

Frames, ids and categories are numbered as each format wants; see there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pycocotools import mask as coco_mask

from dvis_daq.tracks.schema import State, Track, VideoTracks


def coco_rle(content: VideoTracks) -> dict[str, Any]:
    """Masks frame by frame.

    {"input", "height", "width", "frames": [[{"id", "class", "score", "segmentation"}, ...], ...]}
    """
    return {
        "input": content.video.source,
        "height": content.video.height,
        "width": content.video.width,
        "frames": [
            [
                {
                    "id": track.id,
                    "class": track.name,
                    "score": round(track.score, 4),
                    "segmentation": mask,
                }
                for track, mask in content.frame(index)
            ]
            for index in range(content.video.frames)
        ],
    }


def youtube_vis(content: VideoTracks, *, video_id: int = 1) -> list[dict[str, Any]]:
    """results.json of YouTube-VIS and OVIS: one entry a track, with one segmentation a frame.

    Args:
        video_id: of the video in the annotation file. Categories are class index + 1.
    """
    return [
        {
            "video_id": video_id,
            "score": track.score,
            "category_id": track.label + 1,
            "segmentations": [track.mask(t) for t in range(content.video.frames)],
        }
        for track in content.tracks
    ]


def mot(content: VideoTracks) -> str:
    """MOT challenge text: frame, id, left, top, width, height, score, -1, -1, -1.

    Frames and ids count from 1; only frames in which a track is visible; things alone.
    """
    lines = []
    for index in range(content.video.frames):
        for track, mask in content.frame(index):
            if track.id < 0 or track.state(index) is not State.VISIBLE:
                continue
            box = ",".join(f"{side:g}" for side in coco_mask.toBbox(mask).tolist())
            score = track.score_in(index)
            lines.append(f"{index + 1},{track.id + 1},{box},{score:.4f},-1,-1,-1\n")
    return "".join(lines)


def coco_video(content: VideoTracks) -> dict[str, Any]:
    """COCO with videos (TAO, MMTracking): images, tracks and one annotation a mask.

    Videos, images, tracks, annotations and categories count from 1; `frame_index` from 0.
    """
    video, frames = content.video, range(content.video.frames)
    place = {track.id: n for n, track in enumerate(content.tracks, 1)}
    return {
        "videos": [_sized(video, {"id": 1, "name": video.name})],
        "images": [
            _sized(
                video,
                {
                    "id": index + 1,
                    "video_id": 1,
                    "frame_index": index,
                    "file_name": f"{video.name}/{index:06d}.jpg",
                },
            )
            for index in frames
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(_categories(content), 1)],
        "tracks": [
            {"id": place[track.id], "category_id": track.label + 1, "video_id": 1}
            for track in content.tracks
        ],
        "annotations": [
            {"id": n, **annotation}
            for n, annotation in enumerate(
                (
                    _annotation(index, place[track.id], track, mask)
                    for index in frames
                    for track, mask in content.frame(index)
                ),
                1,
            )
        ],
    }


# name -> (file name, function); text is written as it is, the rest as JSON
FORMATS: dict[str, tuple[str, Callable[[VideoTracks], Any]]] = {
    "coco-rle": ("masks.json", coco_rle),
    "youtube-vis": ("results.json", youtube_vis),
    "mot": ("mot.txt", mot),
    "coco-video": ("coco_video.json", coco_video),
}


def _sized(video: Any, entry: dict[str, Any]) -> dict[str, Any]:
    return entry | {"height": video.height, "width": video.width}


def _categories(content: VideoTracks) -> list[str]:
    """Names of all class indices up to the last one that occurs."""
    count = max([len(content.classes), *(track.label + 1 for track in content.tracks)])
    return [*content.classes, *(f"class {n}" for n in range(len(content.classes), count))]


def _annotation(index: int, place: int, track: Track, mask: dict[str, Any]) -> dict[str, Any]:
    return {
        "image_id": index + 1,
        "video_id": 1,
        "track_id": place,
        "category_id": track.label + 1,
        "segmentation": mask,
        "bbox": coco_mask.toBbox(mask).tolist(),
        "area": int(coco_mask.area(mask)),
        "score": track.score_in(index),
        "iscrowd": 0,
    }
