"""Speed of the training mapper against a literal one, and memory over many clips.

    python benchmarks/loader.py                               # a set like OVIS, made on the spot
    python benchmarks/loader.py --memory-clips 5000           # is the memory flat?
    python benchmarks/loader.py --json my.json --images my/   # your own data

The literal mapper does what the public code bases do: it copies the whole record, decodes with
Pillow, carries the masks as dicts and arrays of whole frames through each transform, and fills
in an empty mask for every object that is absent. Both take the same frames and the same
augmentation (crop for half of the clips, resize, flip), turn by turn in one process; times are
CPU times of the process.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps
from pycocotools import mask as rle
from tqdm import tqdm

from dvis_daq.data.annotations import Record, read_instances
from dvis_daq.data.mapper import ClipMapper
from dvis_daq.data.sampling import ClipSampling, choose_frames
from dvis_daq.data.stream import RecordStore
from dvis_daq.data.transforms import (
    Compose,
    HorizontalFlip,
    RandomCrop,
    ResizeShortestEdge,
    Size,
    Sometimes,
)

MADE = (
    ("videos", 4, "number"),
    ("frames", 100, "of a video"),
    ("objects", 8, "of a video"),
    ("size", 720, "height, pixels"),
)
SAMPLING = ClipSampling(frames=5, range=2)
TRANSFORM = Compose(  # that of the OVIS configurations
    [
        Sometimes(
            Compose([ResizeShortestEdge((400, 500, 600), 1333),
                     RandomCrop("absolute_range", (384, 600))]), 0.5
        ),
        ResizeShortestEdge((320, 352, 392, 416, 448, 480, 512, 544, 576, 608, 640), 768),
        Sometimes(HorizontalFlip(), 0.5),
    ]
)  # fmt: skip


def make_data_set(folder: Path, *, videos: int, frames: int, objects: int, size: int) -> None:
    """Writes set.json and images/: textured frames, discs that move, some of them away."""
    rng = np.random.default_rng(0)
    height, width = size, size * 16 // 9
    content: dict[str, Any] = {"videos": [], "annotations": []}
    content["categories"] = [{"id": 1, "name": "disc"}]
    y, x = np.mgrid[:height, :width]
    for v in range(1, videos + 1):
        names = []
        for t in range(8):  # a video repeats eight files
            noise = rng.integers(0, 256, (height // 24, width // 24, 3), dtype=np.uint8)
            names.append(f"{v}/{t}.jpg")
            (folder / "images" / str(v)).mkdir(parents=True, exist_ok=True)
            frame = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(folder / "images" / names[-1]), frame)
        content["videos"].append(
            {"id": v, "height": height, "width": width, "length": frames,
             "file_names": [names[t % 8] for t in range(frames)]}
        )  # fmt: skip
        for _ in range(objects):
            centre, speed = rng.uniform(0.2, 0.8, 2), rng.uniform(-0.2, 0.2, 2) / frames
            radius = rng.uniform(0.05, 0.15) * height
            masks: list[Any] = []
            for t in range(frames):
                cy, cx = (centre + t * speed) * (height, width)
                wave = 0.1 * radius * np.sin(8 * np.arctan2(y - cy, x - cx))
                inside = np.hypot(y - cy, x - cx) < radius + wave
                code = rle.encode(np.asfortranarray(inside.astype(np.uint8)))
                masks.append({"size": [height, width], "counts": code["counts"].decode()})
            away = rng.integers(0, frames, 2)
            masks[away.min() : away.max()] = [None] * (away.max() - away.min())
            content["annotations"].append(
                {"id": len(content["annotations"]) + 1, "video_id": v, "category_id": 1,
                 "iscrowd": 0, "segmentations": masks}
            )  # fmt: skip
    (folder / "set.json").write_text(json.dumps(content))


def literal_record(record: Record) -> dict[str, Any]:
    """The record of the public loaders: a list of frames of lists of dicts."""
    tracks = record["targets"]
    frames: list[list[dict[str, Any]]] = []
    for t in range(record["length"]):
        frames.append([])
        for row in np.flatnonzero(tracks.visible[:, t]):
            code = rle.encode(np.asfortranarray(tracks.decode(row, t)))
            frames[t].append(
                {"id": int(tracks.ids[row]), "category_id": int(tracks.labels[row]), "iscrowd": 0,
                 "bbox": rle.toBbox(code).tolist(), "bbox_mode": 1, "segmentation": code}
            )  # fmt: skip
    plain = {key: value for key, value in record.items() if key != "targets"}
    return {**plain, "annotations": frames}


def literal_mapper(record: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """The same clip as `ClipMapper` makes, the usual way."""
    record = copy.deepcopy(record)
    frames = choose_frames(record["length"], SAMPLING, rng)
    plan = TRANSFORM.draw(LiteralPlan((record["height"], record["width"])), rng)
    annotations = record.pop("annotations")
    ids = sorted({a["id"] for t in frames for a in annotations[t]})
    images, clips = [], []
    for t in frames:
        with Image.open(record["file_names"][t]) as file:
            image = np.asarray(ImageOps.exif_transpose(file).convert("RGB"))
        image = plan(image, Image.Resampling.BILINEAR)
        images.append(torch.as_tensor(np.ascontiguousarray(image.transpose(2, 0, 1))))
        masks = {i: np.zeros(image.shape[:2], dtype=np.uint8) for i in ids}
        for item in annotations[t]:
            mask = rle.decode(item["segmentation"])
            masks[item["id"]] = plan(mask, Image.Resampling.NEAREST)
        stack = [torch.from_numpy(np.ascontiguousarray(mask)) for mask in masks.values()]
        clips.append(torch.stack(stack).bool() if stack else torch.zeros(0, *image.shape[:2]))
    return {"images": torch.stack(images), "masks": torch.stack(clips, dim=1)}


@dataclass(frozen=True)
class LiteralPlan:
    """Stands in for a `Plan`: the steps one after the other, each on the pixels of the last."""

    size: Size
    steps: tuple[Callable[[np.ndarray, Any], np.ndarray], ...] = ()

    def resized(self, size: Size) -> LiteralPlan:
        def resize(pixels: np.ndarray, filter_: Any) -> np.ndarray:
            return np.asarray(Image.fromarray(pixels).resize(size[::-1], filter_))

        return LiteralPlan(size, (*self.steps, resize))

    def cropped(self, top: int, left: int, size: Size) -> LiteralPlan:
        def crop(pixels: np.ndarray, _: Any) -> np.ndarray:
            return pixels[top : top + size[0], left : left + size[1]]

        return LiteralPlan(size, (*self.steps, crop))

    def flipped(self) -> LiteralPlan:
        return LiteralPlan(self.size, (*self.steps, lambda pixels, _: np.flip(pixels, axis=1)))

    def __call__(self, pixels: np.ndarray, filter_: Any) -> np.ndarray:
        for step in self.steps:
            pixels = step(pixels, filter_)
        return pixels


def compare(records: list[Record], clips: int) -> dict[str, float]:
    """Milliseconds of CPU time per clip, and how well the results agree."""
    store = RecordStore(records)
    literal = [literal_record(record) for record in records]
    ours = ClipMapper(SAMPLING, TRANSFORM)
    spent = {"ours": 0.0, "literal": 0.0}
    pixels, masks = [], []
    for i in tqdm(range(clips + 1), unit="clip", disable=not sys.stderr.isatty()):
        index, results = i % len(records), {}
        for name in list(spent)[:: 1 if i % 2 else -1]:
            mapper, source = (ours, store) if name == "ours" else (literal_mapper, literal)
            start = time.process_time()
            results[name] = mapper(source[index], np.random.default_rng(i))
            if i:  # the first one warms up
                spent[name] += time.process_time() - start
        if results["ours"] is not None and i < 8:
            images = [results[name]["images"].int() for name in spent]
            pixels.append((images[0] - images[1]).abs().float().mean().item())
            sums = results["ours"]["targets"].masks.sum(), results["literal"]["masks"].sum()
            masks.append(abs(1 - (sums[0] / sums[1]).item()))
    return {
        "ours_ms": 1000 * spent["ours"] / clips,
        "literal_ms": 1000 * spent["literal"] / clips,
        "ratio": spent["literal"] / spent["ours"],
        "mean_pixel_difference": max(pixels, default=0.0),
        "mask_area_difference": max(masks, default=0.0),
    }


def memory(records: list[Record], clips: int) -> dict[str, float]:
    """Peak memory of this process, MiB, after a fifth of the clips and at the end."""
    store, mapper = RecordStore(records), ClipMapper(SAMPLING, TRANSFORM)
    peaks = []
    for i in tqdm(range(clips), unit="clip", disable=not sys.stderr.isatty()):
        mapper(store[i % len(store)], np.random.default_rng(i))
        if i in (clips // 5, clips - 1):
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return {"clips": clips, "peak_after_fifth_mib": peaks[0], "peak_at_end_mib": peaks[-1]}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="own annotations; with --images")
    parser.add_argument("--images", type=Path, metavar="DIR")
    parser.add_argument("--clips", type=int, default=40, help="clips to time (default 40)")
    parser.add_argument(
        "--memory-clips", type=int, default=0, help="clips for the memory (0: none)"
    )
    for name, value, text in MADE:
        help_text = f"of the made set: {text} (default {value})"
        parser.add_argument(f"--{name}", type=int, default=value, help=help_text)
    parser.add_argument("--output", type=Path, metavar="FILE", help="figures as json")
    options = parser.parse_args(arguments)
    if (options.json is None) != (options.images is None):
        parser.error("--json and --images belong together")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        if options.json is None:
            made = {name: getattr(options, name) for name, _, _ in MADE}
            make_data_set(Path(folder), **made)
            options.json, options.images = Path(folder) / "set.json", Path(folder) / "images"
        start = time.process_time()
        records, _ = read_instances(options.json, options.images)
        figures: dict[str, Any] = {
            "machine": platform.processor() or platform.machine(),
            "torch": torch.__version__,
            "reading_the_json_s": time.process_time() - start,
            "clip": compare(records, options.clips),
        }
        if options.memory_clips:
            figures["memory"] = memory(records, options.memory_clips)
    print(json.dumps(figures, indent=1))
    if options.output:
        options.output.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
