"""Segments and tracks what is in a video, of any length, and draws it over the frames.

OUTPUT gets tracks.json (who was where, from birth to departure: dvis_daq/tracks/schema.py),
overlay.mp4 and what --overlay and --formats name. A job that was interrupted goes on when the
same command is given again. A frame that cannot be read is reported and skipped.

Examples:
  a folder of frames, with the model of the quick start:
    python tools/demo.py --config-file configs/synthetic/MinVIS.yaml \\
        --weights output/synthetic_minvis/model_final.safetensors \\
        --input output/synthetic/val/0000 --output output/demo
  a video file on a CPU, cars alone, as GIF, in the formats of MOT and YouTube-VIS:
    python tools/demo.py --config-file configs/ovis/DVIS_DAQ_online_R50.yaml \\
        --weights daq_ovis_r50.pth --input street.mp4 --output output/street \\
        --classes Vehical --overlay gif,mp4 --formats mot,youtube-vis MODEL.DEVICE cpu
  a camera until Ctrl-C, or a network stream for 1000 frames; shots found by themselves:
    python tools/demo.py --config-file daq.yaml --weights daq.pth --input 0 --output output/live
    python tools/demo.py --config-file daq.yaml --weights daq.pth --output output/door \\
        --input rtsp://user:password@camera/stream --max-frames 1000 --cuts auto

Exit codes: 0 done; 1 something given is missing or does not fit (one line says what);
2 wrong usage; 130 interrupted, the same command goes on.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a plain checkout

from dvis_daq.data.cuts import cut_rule
from dvis_daq.demo.overlay import OVERLAYS
from dvis_daq.demo.run import DEFAULT_FPS, Done, Job, run_job
from dvis_daq.predictor import VideoPredictor
from dvis_daq.program_errors import one_line_errors
from dvis_daq.tracks.formats import FORMATS
from dvis_daq.visualization import DEFAULT_PARTS, PARTS, OverlayStyle

INTERRUPTED = 130


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config-file", required=True, metavar="YAML")
    add("--weights", help="checkpoint (default: MODEL.WEIGHTS of the config)")
    add(
        "--input",
        required=True,
        metavar="SOURCE",
        help="folder of frames, quoted glob of frames, video file, camera index, or URL",
    )
    add("--output", required=True, metavar="DIR", type=Path, help="folder to write")
    add("--score", type=float, default=0.3, help="least score of an object (default 0.3)")
    add("--classes", metavar="NAMES", help="comma-separated; only these classes")
    _add_results(parser)
    _add_running(parser)
    add("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys")
    options = parser.parse_args(arguments)
    for name in ("max_frames", "batch", "window"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    if not 0 <= options.score <= 1:
        parser.error("--score must be between 0 and 1")
    return options


def _add_results(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--overlay",
        default="mp4",
        metavar="KINDS",
        help=f"comma-separated, of {', '.join(OVERLAYS)}; or none (default %(default)s)",
    )
    add(
        "--formats",
        default="",
        metavar="NAMES",
        help=f"beside tracks.json, comma-separated, of {', '.join(FORMATS)}",
    )
    add(
        "--draw",
        default=",".join(DEFAULT_PARTS),
        metavar="PARTS",
        help=f"comma-separated, of {', '.join(PARTS)} (default %(default)s)",
    )
    add("--fps", type=float, help=f"of the overlay (default: as the input, or {DEFAULT_FPS:g})")
    add(
        "--min-side",
        type=int,
        default=240,
        metavar="PX",
        help="smaller frames are enlarged by a whole factor in the overlay (default 240)",
    )


def _add_running(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--cuts",
        metavar="FRAMES",
        help="first frames of new shots, comma-separated, or auto; no track crosses a cut",
    )
    add("--max-frames", type=int, metavar="N", help="stop after N frames")
    add(
        "--batch",
        type=int,
        default=1,
        metavar="N",
        help="frames that pass the segmenter at once (default 1)",
    )
    add(
        "--window",
        type=int,
        default=30,
        metavar="N",
        help="frames that an offline model sees together (default 30)",
    )
    add(
        "--window-overlap",
        type=int,
        default=10,
        metavar="N",
        help="of them, shared with the next window (default 10)",
    )
    add("--restart", action="store_true", help="forget a half-done job in OUTPUT")
    add(
        "--save-every",
        type=float,
        default=20.0,
        metavar="SECONDS",
        help="a job that is killed loses no more than this (default 20)",
    )


def job_of(options: argparse.Namespace) -> Job:
    """What the options ask for.

    Raises:
        ValueError: a name that is not known.
    """
    overlay = "" if options.overlay == "none" else options.overlay
    return Job(
        input=options.input,
        output=options.output,
        score=options.score,
        classes=None if options.classes is None else _split(options.classes),
        overlays=_split(overlay),
        formats=_split(options.formats),
        style=OverlayStyle(parts=_split(options.draw), min_side=options.min_side),
        fps=options.fps,
        max_frames=options.max_frames,
        cut=None if options.cuts is None else cut_rule(options.cuts),
        batch=options.batch,
        identity=_identity(options),
        restart=options.restart,
        save_every=options.save_every,
    )


def report(done: Done) -> str:
    """One line for people."""
    video, tracks = done.tracks.video, done.tracks.tracks
    counts = Counter(track.name for track in tracks)
    named = ", ".join(f"{count} {name}" for name, count in counts.most_common(5))
    skipped = f", {len(done.tracks.skipped)} skipped" if done.tracks.skipped else ""
    rate = video.frames / done.seconds
    return (
        f"{_counted(video.frames, 'frame')}{skipped}, {_counted(len(tracks), 'object')} "
        f"({named or 'none'}), "
        f"{done.seconds:.1f} s with reading and drawing ({rate:.2f} FPS): "
        + ", ".join(map(str, done.files))
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")


def _identity(options: argparse.Namespace) -> dict[str, Any]:
    weights = Path(options.weights) if options.weights else None
    written = weights.stat().st_mtime if weights is not None and weights.exists() else None
    keys = ("config_file", "weights", "opts", "cuts", "window", "window_overlap")
    return {key: getattr(options, key) for key in keys} | {"weights_written": written}


def _split(text: str) -> list[str]:
    return [piece.strip() for piece in text.split(",") if piece.strip()]


def main(arguments: Sequence[str] | None = None) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    options = parse_arguments(arguments)

    def predictor() -> VideoPredictor:
        return VideoPredictor.from_config(
            options.config_file,
            options.weights,
            options.opts,
            window=options.window,
            overlap=options.window_overlap,
        )

    try:
        with one_line_errors():
            print(report(run_job(job_of(options), predictor)))
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None


if __name__ == "__main__":
    main()
