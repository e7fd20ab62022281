"""Writes one HTML file that shows tracks, evaluation and training; it needs no network.

Examples:
  the tracks that tools/demo.py wrote, with the frames that they came from:
    python tools/report.py --tracks output/demo/tracks.json --output output/report.html
  with ground truth (the video whose frames lie in the folder 0000), all figures, and curves:
    python tools/report.py --tracks output/demo/tracks.json --gt output/synthetic/val.json \\
        --figures output/figures.json --runs segmenter=output/synthetic_minvis/metrics.json \\
        tracker=output/synthetic_daq_online/metrics.json --output output/report.html
  a few videos of an evaluation, scored here, and why emergences were missed:
    python tools/report.py --results output/evaluation/inference/synthetic_val/results.json \\
        --trace output/evaluation/inference/synthetic_val/trace.jsonl \\
        --gt output/synthetic/val.json --images output/synthetic/val --videos 1,2,3 \\
        --output output/report.html
  training curves alone:
    python tools/report.py --runs output/*/metrics.json --output output/curves.html

Exit status: 0 written, 1 input that cannot be shown, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a plain checkout

import dvis_daq  # noqa: F401  makes detectron2 importable
from dvis_daq.checkpoint import write_atomically
from dvis_daq.evaluation.files import numbered
from dvis_daq.evaluation.scoring import score
from dvis_daq.metrics.explain import Trace, read_trace
from dvis_daq.metrics.reading import read_ground_truth, read_ids, read_results
from dvis_daq.metrics.tracks import GroundTruth
from dvis_daq.program_errors import one_line_errors
from dvis_daq.report import ClipView, clip_data, render
from dvis_daq.report.sources import (
    VideoFiles,
    frames_of,
    read_figures,
    read_video_files,
    same_number,
    spread,
    tracks_from_results,
    videos_by_name,
)
from dvis_daq.report.training import read_run
from dvis_daq.tracks import read_tracks

SHOWN = 6  # videos of a results.json, unless --videos says which


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    clips = parser.add_argument_group("clips")
    clips.add_argument("--tracks", nargs="+", default=[], metavar="JSON", help="of tools/demo.py")
    clips.add_argument("--input", help="their frames (default: as the tracks name them)")
    clips.add_argument("--results", metavar="JSON", help="results.json of tools/eval.py")
    clips.add_argument("--images", metavar="DIR", help="image folder of --gt, for --results")
    clips.add_argument("--gt", metavar="JSON", help="ground truth, YouTube-VIS or OVIS format")
    clips.add_argument(
        "--videos", metavar="IDS", help=f"of --gt: 3,17 or a file (default: {SHOWN} of --results)"
    )
    clips.add_argument("--trace", metavar="JSONL", help="trace.jsonl of tools/eval.py --explain")
    clips.add_argument(
        "--score", type=float, default=0.3, help="least score of a track (default 0.3)"
    )
    more = parser.add_argument_group("evaluation and training")
    more.add_argument("--figures", metavar="JSON", help="of tools/eval.py --json")
    more.add_argument(
        "--runs", nargs="+", default=[], metavar="[NAME=]JSON", help="metrics.json of training runs"
    )
    parser.add_argument(
        "--output", default="report.html", metavar="HTML", help="default: %(default)s"
    )
    parser.add_argument("--title", help="default: the name of the clip")
    parser.add_argument(
        "--size", type=float, default=24, metavar="MB", help="of pictures and tracks (default 24)"
    )
    options = parser.parse_args(arguments)
    _check(parser, options)
    return options


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if not (options.tracks or options.results or options.figures or options.runs):
        parser.error("nothing to show: give --tracks, --results, --figures or --runs")
    if options.results and not (options.gt and options.images):
        parser.error("--results needs --gt and --images")
    if options.tracks and options.results:
        parser.error("give either --tracks or --results")
    if options.input and len(options.tracks) != 1:
        parser.error("--input goes with one --tracks")
    if options.trace and not options.gt:
        parser.error("--trace needs --gt")
    if not options.size > 0:
        parser.error("--size must be positive")


def run(options: argparse.Namespace) -> None:
    """The whole report.

    Raises:
        ValueError, OSError: something given is missing or does not fit.
    """
    truth = None if options.gt is None else read_ground_truth(options.gt)
    trace = None if options.trace is None else read_trace(options.trace)
    figures = None if options.figures is None else read_figures(options.figures)
    if options.results:
        views, scored = clips_of_results(options, truth, trace)
        figures = figures or scored
    else:
        views = clips_of_tracks(options, truth, trace)
    budget = int(options.size * 1e6 / max(len(views), 1))
    page = render(
        options.title or _title(views),
        clips=[clip_data(view, budget=budget) for view in views],
        figures=figures,
        runs=[(name, read_run(path)) for name, path in map(named_run, options.runs)],
    ).encode()
    target = Path(options.output)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, lambda file: file.write(page))
    tracks = sum(len(view.content.tracks) for view in views)
    print(f"{target} ({len(page) / 1e6:.1f} MB, {len(views)} clips, {tracks} tracks)")


def clips_of_tracks(
    options: argparse.Namespace, truth: GroundTruth | None, trace: Trace | None
) -> list[ClipView]:
    """A clip for each --tracks; the videos of the ground truth by --videos or by name."""
    contents = [read_tracks(path).select(score=options.score) for path in options.tracks]
    frames = [frames_of(content, options.input) for content in contents]
    if truth is None:
        return [ClipView(*pair) for pair in zip(contents, frames, strict=True)]
    ids = given_videos(options)
    names = [content.video.name for content in contents]
    ids = videos_by_name(names, options.gt) if ids is None else same_number(ids, names)
    return [
        ClipView(content, source, truth.restrict([video]), trace)
        for content, source, video in zip(contents, frames, ids, strict=True)
    ]


def clips_of_results(
    options: argparse.Namespace, truth: GroundTruth, trace: Trace | None
) -> tuple[list[ClipView], dict[str, Any]]:
    """A clip for each of the --videos, and the figures of the whole file."""
    files = read_video_files(options.gt)
    found = read_results(options.results, truth)
    ids = given_videos(options)
    chosen = spread(list(truth.videos), SHOWN) if ids is None else ids

    def view(video: VideoFiles) -> ClipView:
        content = tracks_from_results(
            found, truth, video, images=options.images, score=options.score
        )
        return ClipView(content, video.frames(options.images), truth.restrict([video.id]), trace)

    truth.restrict(chosen)  # names unknown ids
    return [view(files[key]) for key in chosen], score(truth, found, events=True, trace=trace)


def given_videos(options: argparse.Namespace) -> list[int] | None:
    """--videos; None where the option is not used."""
    return None if options.videos is None else numbered(read_ids(options.videos))


def named_run(text: str) -> tuple[str, Path]:
    """Name and file of "tracker=out/metrics.json"; the folder is the name of a bare file."""
    name, equals, path = text.partition("=")
    if equals:
        return name, Path(path)
    return Path(text).resolve().parent.name, Path(text)


def _title(views: Sequence[ClipView]) -> str:
    if len(views) == 1:
        return views[0].content.video.name
    return f"{len(views)} clips" if views else "Training and evaluation"


def main(arguments: Sequence[str] | None = None) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    options = parse_arguments(arguments)
    with one_line_errors():
        run(options)


if __name__ == "__main__":
    main()
