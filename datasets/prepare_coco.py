"""Makes the COCO files of joint training: coco2{ovis,ytvis2019,ytvis2021}_{train,val}.json.

They keep the images and the annotations of classes that the video data set has too. Needs
ROOT/coco/annotations/instances_{train,val}2017.json; writes beside them. A file that is there
already stays as it is, and none appears before it is complete.

Examples:
  everything, for the data sets under DETECTRON2_DATASETS:
    python datasets/prepare_coco.py
  for OVIS alone, without the images that show no such class:
    python datasets/prepare_coco.py --root /data --targets ovis --splits train --drop-empty
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a plain checkout

from tqdm import tqdm

from dvis_daq.data.datasets import ROOT_VARIABLE
from dvis_daq.data.prepare.coco import TARGETS, output_name, read_coco, write_coco_json

SPLITS = ("train", "val")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    root = os.environ.get(ROOT_VARIABLE, "datasets")
    parser.add_argument(
        "--root", type=Path, default=root, help="of all data sets (default %(default)s)"
    )
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=TARGETS)
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=SPLITS)
    parser.add_argument("--drop-empty", action="store_true", help="no images without such a class")
    parser.add_argument("--force", action="store_true", help="write files again that are there")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    try:
        for split in options.splits:
            prepare(options, split)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def prepare(options: argparse.Namespace, split: str) -> None:
    """Writes the files of one split, and says what is in them."""
    folder = options.root / "coco" / "annotations"
    outputs = {target: folder / output_name(target, split) for target in options.targets}
    missing = {t: file for t, file in outputs.items() if options.force or not file.is_file()}
    for file in sorted(set(outputs.values()) - set(missing.values())):
        print(f"{file}: there already, left as it is")
    if not missing:
        return
    content = read_coco(folder / f"instances_{split}2017.json")
    for target, file in missing.items():

        def progress(items: Sequence[object], name: str = file.name) -> tqdm:
            return tqdm(items, desc=name, unit="annotation", disable=None)

        counts = write_coco_json(
            content, file, target, drop_empty=options.drop_empty, progress=progress
        )
        print(f"{file}: {', '.join(f'{value} {key}' for key, value in counts.items())}")
    images = options.root / "coco" / f"{split}2017"
    names = [image["file_name"] for image in content["images"]]
    lost = sum(not (images / name).is_file() for name in names)
    if lost:
        raise ValueError(f"{images}: {lost} of {len(names)} images are missing; unpack them there")
    print(f"{images}: all {len(names)} images are there")


if __name__ == "__main__":
    sys.exit(main())
