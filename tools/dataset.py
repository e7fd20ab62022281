"""Looks at a data set of any task: check, stats, show; cuts a development split.

check  lists everything that is wrong with it; the exit code is 1 if there are errors
stats  counts videos, tracks, classes, areas, and objects that emerge, disappear, reappear
show   draws a contact sheet: a row per video, masks in colour with class and id
split  cuts a development split from a training set: every n-th video becomes validation

Examples:
  a data set of your own, every finding, also damaged frames:
    python tools/dataset.py check --json my/train.json --images my/frames --decode
  panoptic (VIPSeg), semantic (VSPW; --json is the list of videos), objects (MOSE):
    python tools/dataset.py check --task vps --json my.json --images frames --masks pngs --decode
    python tools/dataset.py check --task vss --json my.txt --images data --categories classes.json
    python tools/dataset.py check --task vos --json my.json --images frames
  one that is registered (under DETECTRON2_DATASETS), as a table and as json:
    python tools/dataset.py stats --dataset ovis_train --output ovis_train_stats.json
  one that a configuration defines, five videos with six frames each:
    python tools/dataset.py show --config-file configs/synthetic/base.yaml \\
        --dataset synthetic_val --output sheet.png --videos 5 --frames 6
  ovis_dev_train and ovis_dev_val, a tenth of the videos in the latter:
    python tools/dataset.py split --dataset ovis_train --every 10
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a plain checkout

import cv2
from tqdm import tqdm

from dvis_daq.config import get_config
from dvis_daq.data import datasets
from dvis_daq.data.contact_sheet import contact_sheet, spread
from dvis_daq.data.dev_split import dev_files, split
from dvis_daq.data.source_checks import check_source
from dvis_daq.data.sources import READERS, Source, parse_custom
from dvis_daq.data.stats import EVENTS, statistics


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = "check | stats | show | split"
    commands = parser.add_subparsers(dest="command", required=True, metavar=names)
    source = argparse.ArgumentParser(add_help=False)
    source.add_argument("--json", type=Path, metavar="FILE", help="annotation file; with --images")
    source.add_argument("--images", type=Path, metavar="DIR", help="folder of its file names")
    source.add_argument("--task", choices=READERS, default="vis", help="of the file (default vis)")
    source.add_argument("--masks", type=Path, metavar="DIR", help="PNGs of --task vps")
    source.add_argument("--categories", type=Path, metavar="FILE", help="classes of --task vss")
    source.add_argument("--dataset", metavar="NAME", help="a registered data set instead")
    source.add_argument("--config-file", metavar="YAML", help="adds its DATASETS.CUSTOM")

    checker = commands.add_parser("check", parents=[source], help="list everything that is wrong")
    checker.add_argument("--decode", action="store_true", help="read each file to its end (slow)")
    checker.add_argument("--output", type=Path, metavar="FILE", help="findings as json")
    checker.set_defaults(run=run_check)

    counter = commands.add_parser("stats", parents=[source], help="count videos, tracks, events")
    counter.add_argument("--output", type=Path, metavar="FILE", help="the figures as json")
    counter.set_defaults(run=run_stats)

    shower = commands.add_parser("show", parents=[source], help="draw a contact sheet")
    shower.add_argument("--output", type=Path, required=True, metavar="PNG")
    shower.add_argument("--videos", type=_positive, default=8, help="rows (default 8)")
    shower.add_argument("--frames", type=_positive, default=6, help="columns (default 6)")
    shower.add_argument("--width", type=_positive, default=240, help="px a frame (default 240)")
    shower.add_argument("--ids", nargs="+", metavar="ID", help="these videos instead")
    shower.set_defaults(run=run_show)

    cutter = commands.add_parser("split", parents=[source], help="cut a development split")
    cutter.add_argument(
        "--every", type=_positive, default=10, metavar="N", help="of N videos, one (default 10)"
    )
    cutter.set_defaults(run=run_split)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    try:
        return options.run(options, locate(options))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def locate(options: argparse.Namespace) -> Source:
    """The data set that the arguments mean.

    Raises:
        ValueError: they do not name one data set.
    """
    by_file = options.json is not None or options.images is not None
    if by_file == (options.dataset is not None):
        raise ValueError("name the data set by --json and --images, or by --dataset")
    if by_file:
        if options.json is None or options.images is None:
            raise ValueError("--json and --images belong together")
        given = {"SPLIT" if options.task == "vss" else "JSON": options.json,
                 "IMAGES": options.images, "MASKS": options.masks,
                 "CATEGORIES": options.categories}  # fmt: skip
        entry = {key: value for key, value in given.items() if value is not None}
        _, source = parse_custom(
            {"NAME": str(options.json), "TASK": options.task, **entry}, "arguments", Path()
        )
        return source
    datasets.register_all()
    if options.config_file:
        datasets.register_custom(get_config(options.config_file).DATASETS.CUSTOM)
    return datasets.source(options.dataset)


def run_check(options: argparse.Namespace, source: Source) -> int:
    found = check_source(source, decode=options.decode, progress=_progress)
    for finding in found:
        print(f"{finding.level}: {finding}")
    errors = sum(finding.level == "error" for finding in found)
    print(f"{source.json}: {errors} errors, {len(found) - errors} warnings")
    _write_json(options.output, [finding._asdict() for finding in found])
    return 1 if errors else 0


def run_stats(options: argparse.Namespace, source: Source) -> int:
    if source.task not in ("vis", "vos"):
        raise ValueError(f"stats counts objects of tasks vis and vos, not of {source.task}")
    figures = statistics(*READERS[source.task](source, None))
    for name, value in figures.items():
        if name != "classes":
            print(f"{name:18} {_text(value)}")
    header = ("class", "tracks", *EVENTS, "any event")
    print("".join(f"{title:>12}" for title in header))
    for name, row in figures["classes"].items():
        print("".join(f"{value:>12}" for value in (name, *row.values())))
    _write_json(options.output, figures)
    return 0


def run_show(options: argparse.Namespace, source: Source) -> int:
    records, categories = READERS[source.task](source, None)
    if options.ids:
        by_id = {str(record["video_id"]): record for record in records}
        unknown = [i for i in options.ids if i not in by_id]
        if unknown:
            raise ValueError(f"{source.json} has no video with id {unknown[0]}")
        chosen = [by_id[i] for i in options.ids]
    else:
        chosen = [records[i] for i in spread(len(records), options.videos)]
    sheet = contact_sheet(chosen, categories, columns=options.frames, width=options.width)
    if options.output.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ValueError(f"--output {options.output} must end in .png or .jpg")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(options.output), sheet[..., ::-1]):
        raise ValueError(f"--output {options.output} cannot be written")
    print(f"{options.output}: {len(chosen)} of {len(records)} videos")
    return 0


def run_split(options: argparse.Namespace, source: Source) -> int:
    if source.task != "vis":
        raise ValueError(f"split cuts YouTube-VIS and OVIS files, not those of task {source.task}")
    counts = split(source.json, options.every)
    for file, figures in zip(dev_files(source.json), counts.values(), strict=True):
        print(f"{file}: {_text(figures)}")
    return 0


def _progress(videos: Sequence[Any]) -> Any:
    return tqdm(videos, desc="frames", unit="video", disable=not sys.stderr.isatty())


def _write_json(file: Path | None, value: Any) -> None:
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(value, indent=1) + "\n")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {number:g}" for key, number in value.items())
    return str(value)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
