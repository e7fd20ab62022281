"""Makes a synthetic video segmentation data set with exact ground truth.

Writes OUTPUT/{train,val}/<video>/<frame>.jpg, OUTPUT/{train,val}.json (OVIS format) and
OUTPUT/recipe.json, or the layout of VIPSeg, VSPW or MOSE; docs/synthetic.md is the written
recipe. The same options give the same bytes, and a folder that already holds them is left as it
is.

Examples:
  the default set, 120 + 60 videos of 12 frames:
    python datasets/make_synthetic.py --output datasets/synthetic
  long videos in which nearly every object has an event:
    python datasets/make_synthetic.py --output datasets/synthetic_long \\
        --train 0 --val 30 --frames 24 --event-rate 0.95
  harder association: objects that look alike, classes by shape alone:
    python datasets/make_synthetic.py --output datasets/synthetic_hard --look-alikes 0.5 --no-hue
  panoptic, semantic and object segmentation, as VIPSeg, VSPW and MOSE lie on disk:
    python datasets/make_synthetic.py --output datasets/synthetic_vps --format vps
    python datasets/make_synthetic.py --output datasets/synthetic_vss --format vss
    python datasets/make_synthetic.py --output datasets/synthetic_vos --format vos
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a plain checkout

from tqdm import tqdm

from dvis_daq.data.synthetic import FORMATS, Recipe, write_dataset


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    default = Recipe()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--force", action="store_true", help="replace a set of another recipe")
    for option, kind, text in (
        ("seed", int, "of the whole set"),
        ("height", int, "of the frames, px; sprites scale with the shorter side"),
        ("width", int, "of the frames, px"),
        ("frames", int, "length of every video"),
        ("train", int, "number of training videos"),
        ("val", int, "number of validation videos"),
        ("speed", float, "multiplies every motion"),
        ("event-rate", float, "share 0..1 of the objects that enter, leave, hide or return"),
        ("absence", int, "about how many frames an object that returns is away"),
        ("bar-rate", float, "share 0..1 of the videos with an occluding bar"),
        ("look-alikes", float, "chance 0..1 that an object is dressed like the one before it"),
        ("min-visible", int, "px; an object that shows less in a frame counts as absent"),
    ):
        value = getattr(default, option.replace("-", "_"))
        help_text = f"{text} (default {value})"
        parser.add_argument(f"--{option}", type=kind, default=value, help=help_text)
    parser.add_argument(
        "--objects",
        type=int,
        nargs=2,
        metavar=("FEWEST", "MOST"),
        default=default.objects,
        help="objects of a video (default {} {})".format(*default.objects),
    )
    parser.add_argument(
        "--no-hue", dest="hue_cue", action="store_false", help="classes differ in shape alone"
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default=default.format,
        help="on disk: vis OVIS, vps VIPSeg, vss VSPW, vos MOSE (default %(default)s)",
    )
    parser.add_argument(
        "--panoptic", action="store_true", help="with vis: also write a panoptic version with stuff"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = vars(parse_arguments(arguments))
    folder, force = options.pop("output"), options.pop("force")
    try:
        recipe = Recipe(**options)
        videos = write_dataset(recipe, folder, force=force)
        total = recipe.train + recipe.val
        done = sum(1 for _ in tqdm(videos, total=total, unit="video", disable=None))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if done:
        print(f"{folder}: {recipe.train} training and {recipe.val} validation videos")
    else:
        print(f"{folder}: complete already, nothing done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
