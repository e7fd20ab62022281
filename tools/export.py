"""Writes the segmenter as a program that runs without this package, and checks it.

The file takes (N, 3, H, W) uint8 RGB frames of one size, given here, at the size at which the
network sees them (INPUT.MIN_SIZE_TEST), and gives the candidates of each frame: embeds, logits,
masks, mask_features, ... (dvis_daq/structures.py, FrameOutputs). Trackers stay in Python.

Examples:
  torch.export, for frames of 480 x 864 pixels:
    python tools/export.py --config-file configs/ovis/DVIS_DAQ_online_R50.yaml \\
        --weights daq_ovis_r50.pth --size 480 864 --output segmenter.pt2
  ONNX, checked in onnxruntime (pip install 'dvis_daq[onnx]'), four frames at once:
    python tools/export.py --config-file configs/synthetic/MinVIS.yaml \\
        --weights output/synthetic_minvis/model_final.safetensors \\
        --size 96 128 --frames 4 --output segmenter.onnx

Exit codes: 0 written and equal; 1 something given does not fit, or the program differs;
2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a plain checkout

import torch

from dvis_daq.predictor import VideoPredictor
from dvis_daq.program_errors import one_line_errors
from dvis_daq.segmenter.exporting import (
    difference,
    export_onnx,
    export_program,
    plain,
    run_onnx,
    run_program,
)

TOLERANCE = 1e-3  # relative to the largest value of each output, float32
KINDS = (".pt2", ".onnx")
# A program is written in float32 by torch.export, whatever the model is run in
PLAIN = ("TEST.PRECISION", "float32", "TEST.COMPILE", "False")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config-file", required=True, metavar="YAML")
    add("--weights", help="checkpoint (default: MODEL.WEIGHTS of the config)")
    add(
        "--size", required=True, type=int, nargs=2, metavar=("H", "W"), help="of the frames, pixels"
    )
    add("--frames", type=int, default=1, metavar="N", help="frames at once (default 1)")
    add("--output", required=True, type=Path, metavar="FILE", help="*.pt2 or *.onnx")
    add("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys")
    options = parser.parse_args(arguments)
    if options.output.suffix not in KINDS:
        parser.error(f"--output must end in {' or '.join(KINDS)}")
    if min(*options.size, options.frames) < 1:
        parser.error("--size and --frames must be positive")
    return options


def run(options: argparse.Namespace) -> None:
    """Exports and compares.

    Raises:
        ValueError, OSError: something given is missing or does not fit.
        SystemExit: the written program says something else than the model.
    """
    predictor = VideoPredictor.from_config(
        options.config_file, options.weights, [*options.opts, *PLAIN]
    )
    segmenter = predictor.model.segmenter
    device = predictor.model.device
    images = torch.randint(0, 256, (options.frames, 3, *options.size), dtype=torch.uint8)
    images = images.to(device)
    module = plain(segmenter, images)
    facts = {"classes": list(predictor.class_names), "size": list(options.size)}
    facts["frames"] = options.frames
    options.output.parent.mkdir(parents=True, exist_ok=True)
    other = images.flip(0, -1)  # not those that were traced
    with torch.no_grad():
        expected = module(other)
    if options.output.suffix == ".onnx":
        export_onnx(module, images, options.output, facts)
        found = run_onnx(options.output, other)
    else:
        export_program(module, images, options.output, facts)
        _, found = run_program(options.output, other)
    worst = difference(tuple(x.cpu() for x in expected), tuple(x.cpu() for x in found))
    if not worst < TOLERANCE:
        raise SystemExit(f"error: {options.output} differs from the model by {worst:.1e}")
    megabytes = options.output.stat().st_size / 2**20
    print(
        f"{options.output}: {megabytes:.1f} MiB, images {json.dumps(list(images.shape))} uint8 -> "
        f"{', '.join(module.names)}; differs from the model by {worst:.1e} at most"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse_arguments(arguments)
    with one_line_errors():
        run(options)


if __name__ == "__main__":
    main()
