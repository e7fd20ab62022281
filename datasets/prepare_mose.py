"""Makes MOSE/{train,valid}/{train,valid}.json of the frames and palette PNGs of MOSE.

Each object has the value of its pixels as `object_id`. A run that was interrupted goes on where
it was, the json appears when it is complete, and one that is there already stays as it is.

Examples:
  both splits, for the data sets under DETECTRON2_DATASETS:
    python datasets/prepare_mose.py --workers 8
  the validation set of another folder:
    python datasets/prepare_mose.py --root /data --splits valid
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
from dvis_daq.data.objects import read_objects
from dvis_daq.data.prepare.mose import FRAMES, write_mose_json

SHORTEST = {"train": 6, "valid": 1, "test": 1}  # frames; the release leaves out shorter ones


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    root = os.environ.get(ROOT_VARIABLE, "datasets")
    parser.add_argument(
        "--root", type=Path, default=root, help="of all data sets (default %(default)s)"
    )
    parser.add_argument("--splits", nargs="+", choices=SHORTEST, default=("train", "valid"))
    parser.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--force", action="store_true", help="write a json again that is there")
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
    """Writes the json of one split, reads it back, and says what is in it."""
    folder = options.root / "MOSE" / split
    output = folder / f"{split}.json"
    if output.is_file() and not options.force:
        print(f"{output}: there already, left as it is")
        return
    counts = write_mose_json(
        folder,
        output,
        min_frames=SHORTEST[split],
        progress=lambda names: tqdm(names, desc=split, unit="video", disable=None),
        workers=options.workers,
    )
    print(f"{output}: {', '.join(f'{value} {key}' for key, value in counts.items())}")
    records, _ = read_objects(output, folder / FRAMES)
    without = sum(record["targets"].is_empty(range(record["length"])) for record in records)
    print(f"{output}: can be read; {without} of {len(records)} videos have no mask")


if __name__ == "__main__":
    sys.exit(main())
