#!/usr/bin/env python
"""Parameters, operations, time and memory of a configuration's model, part by part (Tab. A4b).

What is counted:
- Operations are those of fvcore: a multiplication with its addition is one, and what is done
  element by element (activations, softmax, comparisons) is free. Attention and the sampling of
  deformable attention are added to fvcore's list.
- The segmenter sees one frame, padded to a multiple of 32 pixels. The trackers make one later
  step: --tracks tracked objects and all candidates of the segmenter. The refiner reads
  --tracks tracks over --frames frames.
- Tracker 1 is everything of the tracker except tracker 2, so the projection of the mask
  features, the masks and the appearance of all rows count there. In evaluation tracker 2 makes
  scores and no masks.
- Time is the median of --repeats runs after one that does not count, memory the peak while a
  part runs, beyond what there was before: on a GPU what the allocator hands out, else the sum
  of living tensors. Weights are random, frames are noise.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a plain checkout

import dvis_daq  # noqa: F401  makes detectron2 importable; isort: skip

import torch
from detectron2.config import CfgNode
from torch import nn

import dvis_daq.recipes  # noqa: F401  registers the models
from dvis_daq.config import get_config
from dvis_daq.engine.costs import (
    Stage,
    count_operations,
    count_parameters,
    peak_memory,
    time_parts,
)
from dvis_daq.engine.setup import build_model
from dvis_daq.model import VideoModel
from dvis_daq.program_errors import one_line_errors
from dvis_daq.segmenter import Segmenter
from dvis_daq.segmenter.encoder_only import EncoderSegmenter
from dvis_daq.structures import FrameOutputs
from dvis_daq.tracker.daq import DAQTracker
from dvis_daq.tracker.state import TrackState, advance

EXAMPLES = """
examples:
  python tools/analyze_model.py --config-file configs/ovis/DVIS_DAQ_online_R50.yaml
  python tools/analyze_model.py --config-file configs/ovis/DVIS_DAQ_offline_ViTL.yaml \\
      --tracks 40 --frames 15 --json vitl.json MODEL.DEVICE cpu
"""


@dataclass(frozen=True)
class Row:
    """What one part costs; None is what was not asked for.

    `operators` splits the operations of a stage, with all its parts, by kind.
    """

    part: str
    parameters: int
    operations: float | None = None
    operators: Mapping[str, float] | None = None
    milliseconds: float | None = None
    peak_bytes: int | None = None


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    torch.manual_seed(args.seed)
    with one_line_errors():
        rows = analyze(
            get_config(args.config_file, ["MODEL.WEIGHTS", "", *args.opts]),
            size=(args.height, args.width),
            tracks=args.tracks,
            frames=args.frames,
            repeats=args.repeats,
            operations=args.operations,
            memory=args.memory,
        )
    print(table(rows))
    if args.json:
        write_json(args.json, rows, args)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, metavar="FILE", help="YAML")
    parser.add_argument("--height", type=int, default=480, help="of a frame, pixels")
    parser.add_argument("--width", type=int, default=854)
    parser.add_argument("--tracks", type=int, default=20, help="tracked objects")
    parser.add_argument("--frames", type=int, default=5, help="of the clip that is refined")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs; 0: no times")
    parser.add_argument("--operations", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="overrides")
    return parser.parse_args(argv)


@torch.no_grad()
def analyze(
    cfg: CfgNode,
    *,
    size: tuple[int, int],
    tracks: int,
    frames: int = 5,
    repeats: int = 3,
    operations: bool = True,
    memory: bool = True,
) -> list[Row]:
    """The costs of a model's parts, in the order in which a frame meets them.

    Args:
        cfg: the whole configuration.
        size: height and width of a frame, pixels.
        tracks: tracked objects.
        frames: length of the clip that a refiner reads.
        repeats: timed runs; 0 for no times.
        operations, memory: whether they are counted.
    """
    model = build_model(cfg).eval()
    rows = []
    for stage in stages(model, size=size, tracks=tracks, frames=frames):
        counted, kinds = count_operations(stage) if operations else ({}, None)
        spent = time_parts(stage, repeats, model.device) if repeats else {}
        peaks = peak_memory(stage, model.device) if memory else {}
        rows += [
            Row(
                name,
                number,
                counted.get(name),
                kinds if name == stage.name else None,
                spent.get(name),
                peaks.get(name),
            )
            for name, number in count_parameters(stage).items()
        ]
    return rows


def stages(
    model: VideoModel, *, size: tuple[int, int], tracks: int, frames: int
) -> Iterator[Stage]:
    """Segmenter, tracker and refiner of a model, ready to run on noise."""
    image = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8, device=model.device)
    segmenter = model.segmenter
    parts = segmenter_parts(segmenter)
    yield Stage("segmenter", segmenter, parts, lambda: segmenter(image), whole=True)
    frame = segmenter(image)
    tracker = model.tracker
    if any(True for _ in tracker.parameters()):
        state = running_state(tracker, frame, tracks)
        two = tracker.disappearance if isinstance(tracker, DAQTracker) else None
        yield Stage(
            "tracker" if two is None else "tracker 1",
            tracker,
            {} if two is None else {"tracker 2": two},
            lambda: tracker.step(state, frame),
            {} if two is None else {"tracker 2": [tracker.background_queries]},
        )
    if model.refiner is not None:
        refiner, width = model.refiner, frame.embeds.shape[-1]
        sequences = torch.randn(frames, tracks, width, device=model.device)
        candidates = frame.embeds.expand(frames, -1, -1)
        features = frame.mask_features.expand(frames, -1, -1, -1)
        yield Stage(
            "refiner",
            refiner,
            {},
            lambda: refiner.predict(refiner(sequences, candidates), features),
        )


def segmenter_parts(segmenter: Segmenter) -> dict[str, nn.Module]:
    """The parts of a segmenter that run by themselves."""
    head = segmenter.sem_seg_head
    if isinstance(segmenter, EncoderSegmenter):
        return {"upscaling": head.pixel_decoder}
    return {
        "backbone": segmenter.backbone,
        "pixel decoder": head.pixel_decoder,
        "query decoder": head.predictor,
    }


def running_state(tracker: nn.Module, frame: FrameOutputs, tracks: int) -> TrackState:
    """What a tracker carries after a first frame in which the first `tracks` rows are seen."""
    step = tracker.step(tracker.start(), frame)
    rows = len(step.queries)
    limit = tracks if isinstance(tracker, DAQTracker) else rows  # the others keep all rows
    seen = torch.arange(rows, device=step.queries.device) < limit
    state, _ = advance(tracker.start(), step, seen, 1)
    return state


def table(rows: Sequence[Row]) -> str:
    """One line a part."""
    columns = (
        ("params (M)", lambda row: row.parameters / 1e6, 2),
        ("operations (G)", lambda row: row.operations / 1e9, 2),
        ("time (ms)", lambda row: row.milliseconds, 2),
        ("memory (MB)", lambda row: row.peak_bytes / 1e6, 1),
    )
    fields = ("parameters", "operations", "milliseconds", "peak_bytes")
    shown = [
        (title, value, digits)
        for (title, value, digits), name in zip(columns, fields, strict=True)
        if getattr(rows[0], name) is not None
    ]
    lines = ["part".ljust(14) + "".join(title.rjust(16) for title, *_ in shown)]
    for row in rows:
        cells = (f"{value(row):.{digits}f}".rjust(16) for _, value, digits in shown)
        lines.append(row.part.ljust(14) + "".join(cells))
    for row in rows:
        if row.operators:
            kinds = sorted(row.operators.items(), key=lambda item: -item[1])
            listed = ", ".join(f"{kind} {number / 1e9:.2f}" for kind, number in kinds)
            lines.append(f"{row.part}, all parts, G: {listed}")
    return "\n".join(lines)


def write_json(file: Path, rows: Sequence[Row], args: argparse.Namespace) -> None:
    """The rows, with the settings of the command and the machine."""
    settings = {name: str(value) for name, value in vars(args).items()}
    result = {"machine": machine(), "settings": settings, "rows": [asdict(row) for row in rows]}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=2) + "\n")


def machine() -> dict[str, Any]:
    """Where the figures come from."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor()
    return {
        "device": device or platform.machine(),
        "system": platform.platform(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    main()
