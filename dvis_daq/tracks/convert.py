"""Results as the objects of other libraries, each import told by the extra that brings it.

`to_supervision` needs nothing more than the package itself. The others:
`pip install 'dvis_daq[pandas]'`, `[rerun]`, `[fiftyone]`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import supervision as sv
from pycocotools import mask as coco_mask

from dvis_daq.tasks.vis import decode
from dvis_daq.tracks.schema import RLE, State, Track, VideoTracks

if TYPE_CHECKING:
    import pandas as pd


def to_supervision(
    *,
    ids: Sequence[int] | np.ndarray,
    labels: Sequence[int] | np.ndarray,
    names: Sequence[str],
    scores: Sequence[float] | np.ndarray,
    masks: np.ndarray,
) -> sv.Detections:
    """The rows of one frame for the annotators, zones and counters of supervision.

    Rows without a pixel are left out: they have no box.

    Args:
        ids, labels, names, scores: of n rows.
        masks: (n, H, W) bool.

    Returns:
        With `mask`, `xyxy`, `confidence`, `class_id`, `tracker_id` and `data["class_name"]`.
    """
    rows = np.flatnonzero(masks.any((1, 2)))
    boxes = sv.mask_to_xyxy(masks[rows]).astype(np.float32).reshape(-1, 4)
    return sv.Detections(
        xyxy=boxes,
        mask=masks[rows],
        confidence=np.asarray(scores, dtype=np.float32)[rows],
        class_id=np.asarray(labels, dtype=int)[rows],
        tracker_id=np.asarray(ids, dtype=int)[rows],
        data={"class_name": np.asarray(names, dtype=str)[rows]},
    )


def frame_to_supervision(content: VideoTracks, index: int) -> sv.Detections:
    """One frame of a `tracks.json`."""
    shown = list(content.frame(index))
    size = (content.video.height, content.video.width)
    return to_supervision(
        ids=[track.id for track, _ in shown],
        labels=[track.label for track, _ in shown],
        names=[track.name for track, _ in shown],
        scores=[track.score for track, _ in shown],
        masks=decode([mask for _, mask in shown], size),
    )


def to_pandas(content: VideoTracks) -> pd.DataFrame:
    """A table with one row for each track in each frame of its life.

    Columns: frame, seconds (None without fps), track, label, class, state (visible | hidden),
    score (of the track), frame_score, and of its mask area, left, top, width, height in pixels
    (0 without a mask).

    Raises:
        ImportError: pandas is not installed; says what to install.
    """
    pandas = _needed("pandas", "pandas")
    rows = [_table_row(content, track, t) for track in content.tracks for t in _life(track)]
    return pandas.DataFrame(rows, columns=list(_COLUMNS)).sort_values(
        ["frame", "track"], ignore_index=True
    )


def to_rerun(
    content: VideoTracks,
    frames: Iterable[np.ndarray | None],
    *,
    recording: Any | None = None,
    entity: str = "video",
) -> None:
    """Logs frames, masks and boxes to a rerun recording, on the timeline `frame`.

    Args:
        content: the tracks.
        frames: (H, W, 3) uint8 RGB in order, None for one that is not shown.
        recording: a `rerun.RecordingStream`; None takes the current one.
        entity: path under which everything is logged.

    Raises:
        ImportError: rerun is not installed; says what to install.
    """
    rr = _needed("rerun", "rerun")
    classes = [(n, name) for n, name in enumerate(content.classes, 1)]
    if classes:
        context = rr.AnnotationContext(classes)
        rr.log(entity, context, static=True, recording=recording)
    for index, frame in enumerate(frames):
        rr.set_time("frame", sequence=index, recording=recording)
        if frame is not None:
            rr.log(f"{entity}/image", rr.Image(frame).compress(), recording=recording)
        rows = frame_to_supervision(content, index)
        rr.log(
            f"{entity}/masks", rr.SegmentationImage(_painted(content, rows)), recording=recording
        )
        rr.log(f"{entity}/tracks", _rerun_boxes(rr, rows), recording=recording)


def to_fiftyone(content: VideoTracks, video_path: str, *, field: str = "tracks") -> Any:
    """A FiftyOne sample of the video, with detections by frame, whose `index` is the track.

    Args:
        content: the tracks.
        video_path: the video file that FiftyOne will play.
        field: of the frames, to put the detections in.

    Raises:
        ImportError: FiftyOne is not installed; says what to install.
    """
    fo = _needed("fiftyone", "fiftyone")
    sample = fo.Sample(filepath=video_path)
    for index in range(content.video.frames):
        detections = [
            fo.Detection(
                label=track.name,
                confidence=track.score,
                index=track.id,
                **_fiftyone_place(content, mask),
            )
            for track, mask in content.frame(index)
        ]
        sample.frames[index + 1] = fo.Frame(**{field: fo.Detections(detections=detections)})
    return sample


_COLUMNS = (
    "frame", "seconds", "track", "label", "class", "state", "score", "frame_score",
    "area", "left", "top", "width", "height",
)  # fmt: skip


def _life(track: Track) -> range:
    return range(track.born, track.stop)


def _table_row(content: VideoTracks, track: Track, index: int) -> tuple[Any, ...]:
    mask, fps = track.mask(index), content.video.fps
    area, box = 0, [0.0] * 4
    if mask is not None:
        area, box = int(coco_mask.area(mask)), coco_mask.toBbox(mask).tolist()
    state = "hidden" if track.state(index) is State.HIDDEN else "visible"
    seconds = index / fps if fps else None
    head = (index, seconds, track.id, track.label, track.name, state)
    return (*head, track.score, track.score_in(index), area, *box)


def _painted(content: VideoTracks, rows: Any) -> np.ndarray:
    """(H, W) uint16 class index + 1 of each pixel, the best score on top; 0 where there is none."""
    canvas = np.zeros((content.video.height, content.video.width), dtype=np.uint16)
    for n in np.argsort(rows.confidence):
        canvas[rows.mask[n]] = rows.class_id[n] + 1
    return canvas


def _rerun_boxes(rr: ModuleType, rows: Any) -> Any:
    if len(rows) == 0:
        return rr.Clear(recursive=False)
    texts = [f"#{i} {name}" for i, name in zip(rows.tracker_id, rows["class_name"], strict=True)]
    return rr.Boxes2D(
        array=rows.xyxy,
        array_format=rr.Box2DFormat.XYXY,
        labels=texts,
        class_ids=rows.class_id + 1,
    )


def _fiftyone_place(content: VideoTracks, mask: RLE) -> dict[str, Any]:
    """Box relative to the frame, and the mask inside of it, as FiftyOne keeps them."""
    left, top, width, height = (int(side) for side in coco_mask.toBbox(mask))
    full = coco_mask.decode(mask).astype(bool)
    frame = content.video
    return {
        "bounding_box": [
            left / frame.width, top / frame.height, width / frame.width, height / frame.height
        ],
        "mask": full[top : top + height, left : left + width],
    }  # fmt: skip


def _needed(module: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"this needs the package {module}: pip install 'dvis_daq[{extra}]'"
        ) from error
