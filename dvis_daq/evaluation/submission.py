"""Files for the servers of the benchmarks: checks results as the servers do, then packs them.

What a server would refuse is refused here, with the reason: unknown or missing videos and
frames, another number of masks or another size, unknown categories, scores that are not finite,
pixels that a json does not list. Ground truth is not needed, only the split's own file.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from dvis_daq.evaluation.files import ResultFiles
from dvis_daq.evaluation.object_scoring import object_numbers
from dvis_daq.evaluation.per_video import each_video
from dvis_daq.evaluation.semantic_scoring import NUM_CLASSES
from dvis_daq.metrics.label_images import read_labels, read_segment_ids, read_size
from dvis_daq.metrics.panoptic import Frames
from dvis_daq.metrics.panoptic_reading import read_panoptic_results, read_panoptic_truth
from dvis_daq.metrics.reading import read_ground_truth, read_results

Members = dict[str, Path]  # files by their name in the zip
Size = tuple[int, int]

FRAME_FOLDER = "origin"  # of a video of VSPW
IMAGE_FOLDER = "JPEGImages"  # beside the masks of MOSE


def pack(files: ResultFiles, target: str | Path, *, workers: int = 1) -> int:
    """Checks results and writes the zip that the server of the benchmark takes.

    Args:
        files: of YouTube-VIS or OVIS (vis), VIPSeg (vps), VSPW (vss: `gt_root` has
            <video>/origin/<frame>.jpg) or MOSE (vos: `gt_root` has the masks of the first
            frames, and JPEGImages beside it). No labels are needed.
        target: the zip; old or complete.
        workers: processes that read PNGs.

    Returns:
        Files in the zip.

    Raises:
        ValueError: the server would refuse it; says what and where.
    """
    members = MAKERS[files.task](files, workers)
    _write_zip(Path(target), members)
    return len(members)


def instances_zip(files: ResultFiles, workers: int) -> Members:
    """results.json, at the top level."""
    videos = read_ground_truth(files.gt, labelled=False)
    if not read_results(files.results, videos):
        raise ValueError(f"{files.results} has no track at all; the server would not take it")
    return {"results.json": files.results}


def panoptic_zip(files: ResultFiles, workers: int) -> Members:
    """pred.json and pan_pred/<video>/<frame>.png."""
    truth = read_panoptic_truth(files.gt, files.gt_root, labelled=False)
    found = read_panoptic_results(files.results, files.results_root, truth)
    jobs = [(frames, truth.sizes[video]) for video, frames in found.items()]
    for _ in each_video(_check_panoptic, jobs, workers=workers):
        pass
    members = {"pred.json": files.results}
    for video, frames in found.items():
        members |= {f"pan_pred/{video}/{frame.png.name}": frame.png for frame in frames}
    return members


def _check_panoptic(job: tuple[Frames, Sequence[Size]]) -> None:
    for frame, size in zip(*job, strict=True):
        ids = read_segment_ids(frame.png)
        _check_size(frame.png, ids.shape, size)
        drawn = set(np.unique(ids).tolist()) - {0}
        listed = {segment.id for segment in frame.segments}
        if drawn != listed:
            odd = min(drawn ^ listed)
            where = "pixels of" if odd in drawn else "no pixel of"
            raise ValueError(
                f"{frame.png} has {where} the segment {odd}, unlike the json; list every segment "
                "that has a pixel in the frame, and no other"
            )


def semantic_zip(files: ResultFiles, workers: int) -> Members:
    """<video>/<frame>.png."""
    root = files.image_root or files.gt_root
    images = {video: _frames(root / video / FRAME_FOLDER) for video in files.videos()}
    return _labels_zip(images, files.results_root, _check_classes, workers)


def _check_classes(job: tuple[str, Mapping[str, Path], Path]) -> None:
    _, images, root = job
    for path, labels in _checked_labels(images, root, modes=("L", "P")):
        if labels.max(initial=0) >= NUM_CLASSES:
            raise ValueError(
                f"{path} has the value {labels.max()}; write class indices 0 to {NUM_CLASSES - 1}, "
                "and a class for every pixel"
            )


def objects_zip(files: ResultFiles, workers: int) -> Members:
    """<video>/<frame>.png with a palette."""
    root = files.image_root or files.gt_root.parent / IMAGE_FOLDER
    images = {video: _frames(root / video) for video in files.videos()}
    check = partial(_check_objects, masks=files.gt_root)
    return _labels_zip(images, files.results_root, check, workers)


def _check_objects(job: tuple[str, Mapping[str, Path], Path], masks: Path) -> None:
    video, images, root = job
    given = sorted((masks / video).glob("*.png"))
    if not given:
        raise ValueError(f"{masks / video} has no mask of the first frame")
    known = {0, *object_numbers(read_labels(given[0]))}
    for path, labels in _checked_labels(images, root, modes=("P",)):
        odd = set(np.unique(labels).tolist()) - known
        if odd:
            raise ValueError(
                f"{path} has the object {min(odd)}; the first frame of the video shows "
                f"{sorted(known - {0})}"
            )


def _labels_zip(
    images: Mapping[str, Mapping[str, Path]],
    root: Path,
    check: Callable[[tuple[str, Mapping[str, Path], Path]], None],
    workers: int,
) -> Members:
    jobs = [(video, frames, root / video) for video, frames in images.items()]
    for _ in each_video(check, jobs, workers=workers):
        pass
    names = [f"{video}/{name}.png" for video, frames in images.items() for name in frames]
    return {name: root / name for name in names}


def _checked_labels(
    images: Mapping[str, Path], root: Path, *, modes: Sequence[str]
) -> Iterable[tuple[Path, np.ndarray]]:
    """The label images of a video; refuses missing and further frames, and other sizes."""
    further = sorted({path.stem for path in root.glob("*.png")} - images.keys())
    if further:
        raise ValueError(f"{root / further[0]}.png is of no frame of the video; remove it")
    for name, image in images.items():
        path = root / f"{name}.png"
        labels = read_labels(path, modes)
        _check_size(path, labels.shape, read_size(image))
        yield path, labels


def _frames(folder: Path) -> dict[str, Path]:
    """Images of a video by the name of the frame."""
    files = sorted(path for ending in ("jpg", "jpeg", "png") for path in folder.glob(f"*.{ending}"))
    found = {path.stem: path for path in files}
    if not found:
        raise ValueError(f"{folder} has no images; the frames tell which results are due")
    return found


def _check_size(path: Path, size: Sequence[int], wanted: Size) -> None:
    if tuple(size) != tuple(wanted):
        raise ValueError(f"{path} is {tuple(size)}, the frame {tuple(wanted)} (height, width)")


def _write_zip(target: Path, members: Members) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, path in members.items():
                archive.write(path, name, None if path.suffix == ".json" else zipfile.ZIP_STORED)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


MAKERS: dict[str, Callable[[ResultFiles, int], Members]] = {
    "vis": instances_zip,
    "vps": panoptic_zip,
    "vss": semantic_zip,
    "vos": objects_zip,
}
