"""Makes VIPSeg/VIPSeg_720P of VIPSeg as it is published: frames 720 pixels high, COCO-panoptic.

Reads ROOT/VIPSeg/VIPSeg_raw (imgs/, panomasks/, {train,val,test}.txt) and writes images/,
panomasksRGB/ and panoptic_gt_VIPSeg_{train,val,test}.json. Segment ids are the values of the
published label maps. A run that was interrupted goes on where it was, a json appears when all
its videos are there, and one that is there already stays as it is.

Examples:
  everything, for the data sets under DETECTRON2_DATASETS:
    python datasets/prepare_vipseg.py --workers 8
  from and to other folders, the frames at the size that they have, then each PNG checked:
    python datasets/prepare_vipseg.py --raw /downloads/VIPSeg --output /data/VIPSeg/VIPSeg_720P \\
        --height 0 --check
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a plain checkout

from tqdm import tqdm

from dvis_daq.data.datasets import ROOT_VARIABLE
from dvis_daq.data.files import write_json
from dvis_daq.data.panoptic import read_panoptic
from dvis_daq.data.prepare.parts import Parts
from dvis_daq.data.prepare.vipseg import (
    IDS,
    IMAGES,
    Conversion,
    convert_video,
    panoptic_json,
    read_split,
)
from dvis_daq.data.source_checks import check_source
from dvis_daq.data.sources import Source

SPLITS = ("train", "val", "test")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    folder = Path(os.environ.get(ROOT_VARIABLE, "datasets"), "VIPSeg")
    parser.add_argument(
        "--raw", type=Path, default=folder / "VIPSeg_raw", help="default %(default)s"
    )
    parser.add_argument(
        "--output", type=Path, default=folder / "VIPSeg_720P", help="default %(default)s"
    )
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=SPLITS)
    parser.add_argument("--height", type=int, default=720, help="px; 0 keeps frames as they are")
    parser.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--check", action="store_true", help="read every file again at the end")
    parser.add_argument("--force", action="store_true", help="make a split again that is there")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    try:
        errors = sum(prepare(options, split) for split in options.splits)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 1 if errors else 0


def prepare(options: argparse.Namespace, split: str) -> int:
    """Converts one split, reads its json back, and returns the number of faults found."""
    output = options.output / f"panoptic_gt_VIPSeg_{split}.json"
    if output.is_file() and not options.force:
        print(f"{output}: there already, left as it is")
    else:
        convert(options, split, output)
    source = Source("vps", output, options.output / IMAGES, options.output / IDS)
    records, _ = read_panoptic(source.json, source.images, options.output / IDS)
    without = sum(record["targets"].is_empty(range(record["length"])) for record in records)
    frames = sum(record["length"] for record in records)
    print(f"{output}: {len(records)} videos, {frames} frames, {without} videos without segments")
    if not options.check:
        return 0
    found = check_source(source, decode=True, progress=partial(bar, desc=f"check {split}"))
    for finding in found:
        print(f"{finding.level}: {finding}")
    return sum(finding.level == "error" for finding in found)


def convert(options: argparse.Namespace, split: str, output: Path) -> None:
    names = read_split(options.raw / f"{split}.txt")
    plan = Conversion(options.raw, options.output, options.height or None)
    parts = Parts(output, settings=f"_{options.height}")
    made = parts.make(
        names,
        partial(convert_video, plan),
        progress=partial(bar, desc=split),
        workers=options.workers,
    )
    write_json(output, panoptic_json(made))
    parts.remove()


def bar(items: Sequence[object], desc: str) -> tqdm:
    return tqdm(items, desc=desc, unit="video", disable=None)


if __name__ == "__main__":
    sys.exit(main())
