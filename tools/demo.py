"""Segments and tracks the objects of a video and draws them over it.

Writes OUTPUT/overlay.mp4 and OUTPUT/masks.json. The json has one list a frame under "frames";
each object in it is {"id", "class", "score", "segmentation"} with a COCO RLE, and keeps its id
through the video.

Examples:
  a folder of frames, with the model of the quick start:
    python tools/demo.py --config-file configs/synthetic/MinVIS.yaml \\
        --weights output/synthetic_minvis/model_final.safetensors \\
        --input output/synthetic/val/0000 --output output/demo
  a video file on a CPU, contours and ids alone, the first 100 frames:
    python tools/demo.py --config-file configs/ovis/DVIS_DAQ_online_R50.yaml \\
        --weights daq_ovis_r50.pth --input street.mp4 --output output/street \\
        --draw contours,ids --max-frames 100 MODEL.DEVICE cpu
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a plain checkout

import numpy as np
from pycocotools import mask as coco_mask
from tqdm import tqdm

from dvis_daq.checkpoint import write_atomically
from dvis_daq.data.video_io import FrameSource, VideoWriter, open_frames
from dvis_daq.engine.setup import one_line_errors
from dvis_daq.predictor import VideoPredictor
from dvis_daq.visualization import DEFAULT_PARTS, PARTS, OverlayStyle, draw_tracks

DEFAULT_FPS = 10.0  # of a folder of images


class Track(NamedTuple):
    """One object of the video."""

    id: int
    name: str
    score: float
    masks: list[dict[str, Any] | None]  # an RLE for each frame, None where it is absent


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, metavar="YAML")
    parser.add_argument("--weights", help="checkpoint (default: MODEL.WEIGHTS of the config)")
    parser.add_argument(
        "--input", required=True, help="folder of frames, quoted glob of frames, or video file"
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--draw",
        default=",".join(DEFAULT_PARTS),
        metavar="PARTS",
        help=f"comma-separated, of {', '.join(PARTS)} (default %(default)s)",
    )
    parser.add_argument(
        "--score", type=float, default=0.3, help="least score of an object (default 0.3)"
    )
    parser.add_argument("--classes", metavar="NAMES", help="comma-separated; only these classes")
    parser.add_argument(
        "--fps", type=float, help=f"of the overlay (default: as the input, or {DEFAULT_FPS:g})"
    )
    parser.add_argument("--max-frames", type=int, metavar="N", help="stop after N frames")
    parser.add_argument(
        "--min-side",
        type=int,
        default=240,
        metavar="PX",
        help="smaller frames are enlarged by a whole factor in the overlay (default 240)",
    )
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys")
    options = parser.parse_args(arguments)
    if options.max_frames is not None and options.max_frames < 1:
        parser.error("--max-frames must be at least 1")
    return options


def run(options: argparse.Namespace) -> None:
    """The whole demo.

    Raises:
        ValueError, OSError, SystemExit: something given is missing or does not fit.
    """
    style = OverlayStyle(parts=_split(options.draw), min_side=options.min_side)
    source = open_frames(options.input)
    predictor = VideoPredictor.from_config(options.config_file, options.weights, options.opts)
    if predictor.task != "vis":
        raise SystemExit(
            f"error: the demo draws instances (MODEL.TASK vis), not '{predictor.task}'"
        )
    wanted = _wanted_classes(options.classes, predictor.class_names)
    started = time.perf_counter()
    result = _segment(predictor, source, options.max_frames)
    tracks = select_tracks(result, predictor, score=options.score, classes=wanted)
    overlay, masks = Path(options.output, "overlay.mp4"), Path(options.output, "masks.json")
    count, height, width = _draw(source, tracks, style, overlay, options)
    content = {
        "input": str(options.input),
        "height": height,
        "width": width,
        "frames": [_objects(tracks, t) for t in range(count)],
    }
    write_atomically(masks, lambda file: file.write(json.dumps(content).encode()))
    seconds = time.perf_counter() - started
    print(
        f"{count} frames, {len(tracks)} objects, {seconds:.1f} s with reading and drawing "
        f"({count / seconds:.2f} FPS): {overlay}, {masks}"
    )


def select_tracks(
    result: Mapping[str, Any],
    predictor: VideoPredictor,
    *,
    score: float,
    classes: Sequence[str] | None,
) -> list[Track]:
    """The objects to show: of each track its best class, if that is good enough.

    Args:
        result: of `tasks.vis.instances`, best first.
        score: least score.
        classes: names to keep; None keeps all.
    """
    best: dict[int, Track] = {}
    columns = (result["ids"].tolist(), result["labels"].tolist(), result["scores"].tolist())
    for track, label, points, masks in zip(*columns, result["masks"], strict=True):
        if track not in best or best[track].score < points:
            best[track] = Track(track, predictor.class_name(label), points, masks)
    return [
        track
        for track in best.values()
        if track.score >= score and (classes is None or track.name in classes)
    ]


def _segment(
    predictor: VideoPredictor, source: FrameSource, limit: int | None
) -> Mapping[str, Any]:
    with _bar("segment", source, limit) as bar:
        return predictor(islice(source, limit), progress=bar.update)


def _draw(
    source: FrameSource,
    tracks: Sequence[Track],
    style: OverlayStyle,
    path: Path,
    options: argparse.Namespace,
) -> tuple[int, int, int]:
    """Writes the overlay. Returns the number of frames, their height and their width."""
    count, size = 0, (0, 0)
    fps = options.fps or source.fps or DEFAULT_FPS
    with VideoWriter(path, fps=fps) as writer, _bar("draw", source, options.max_frames) as bar:
        for count, frame in enumerate(islice(source, options.max_frames), 1):
            writer.write(_overlay(frame, tracks, count - 1, style))
            size = (frame.shape[0], frame.shape[1])
            bar.update()
    return count, *size


def _overlay(frame: np.ndarray, tracks: Sequence[Track], t: int, style: OverlayStyle) -> np.ndarray:
    shown = [track for track in tracks if track.masks[t] is not None]
    masks = np.zeros((len(shown), *frame.shape[:2]), dtype=bool)
    for mask, track in zip(masks, shown, strict=True):
        mask[:] = coco_mask.decode(track.masks[t])
    return draw_tracks(
        frame,
        masks=masks,
        ids=[track.id for track in shown],
        names=[track.name for track in shown],
        scores=[track.score for track in shown],
        style=style,
    )


def _objects(tracks: Sequence[Track], t: int) -> list[dict[str, Any]]:
    return [
        {
            "id": track.id,
            "class": track.name,
            "score": round(track.score, 4),
            "segmentation": track.masks[t],
        }
        for track in tracks
        if track.masks[t] is not None
    ]


def _wanted_classes(text: str | None, known: Sequence[str]) -> list[str] | None:
    if text is None:
        return None
    wanted = _split(text)
    for name in wanted:
        if known and name not in known:
            raise SystemExit(f"error: --classes: no class '{name}'; there are {', '.join(known)}")
    return wanted


def _split(text: str) -> list[str]:
    return [piece.strip() for piece in text.split(",") if piece.strip()]


def _bar(text: str, source: FrameSource, limit: int | None) -> tqdm:
    total = min((n for n in (source.length, limit) if n is not None), default=None)
    return tqdm(desc=text, total=total, unit="frame", disable=None)


def main(arguments: Sequence[str] | None = None) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    options = parse_arguments(arguments)
    with one_line_errors():
        run(options)


if __name__ == "__main__":
    main()
