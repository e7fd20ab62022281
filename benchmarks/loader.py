"""Speed of the training mappers against literal ones, and memory of the loader over many clips.

    python benchmarks/loader.py                               # sets like OVIS and COCO, made here
    python benchmarks/loader.py --memory-clips 5000           # is the memory of the workers flat?
    python benchmarks/loader.py --json my.json --images my/   # videos of your own

`literal_mappers.py` has what the public code bases do. Both take the same frames and the same
augmentation (crop for half of the clips, resize, flip; still images turn), turn by turn in one
process; times are CPU times of the process. The memory is that of the worker processes of the
loader that training uses, videos and still images mixed.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch
from pycocotools import mask as rle
from tqdm import tqdm

from benchmarks.literal_mappers import LiteralStills, LiteralVideos, still_record, video_record
from dvis_daq.config import get_config
from dvis_daq.data.annotations import Record, read_instances
from dvis_daq.data.loader import build_train_loader
from dvis_daq.data.mapper import ClipMapper
from dvis_daq.data.pseudo import StillMapper
from dvis_daq.data.sampling import ClipSampling
from dvis_daq.data.stills import read_stills
from dvis_daq.data.stream import RecordStore
from dvis_daq.data.transforms import (
    Compose,
    HorizontalFlip,
    RandomCrop,
    ResizeShortestEdge,
    Sometimes,
)

MADE = (
    ("videos", 4, "number"),
    ("frames", 100, "of a video"),
    ("objects", 8, "of a video, and of an image"),
    ("size", 720, "height of a video, pixels"),
)
IMAGES = 16  # still images, 480 x 640 as most of COCO
SAMPLING = ClipSampling(frames=5, range=2)
DEGREES = 15.0
SIZES = (320, 352, 392, 416, 448, 480, 512, 544, 576, 608, 640)
TRANSFORM = Compose(  # that of the OVIS configurations, of videos and of still images
    [
        Sometimes(
            Compose([ResizeShortestEdge((400, 500, 600), 1333),
                     RandomCrop("absolute_range", (384, 600))]), 0.5
        ),
        ResizeShortestEdge(SIZES, 768),
        Sometimes(HorizontalFlip(), 0.5),
    ]
)  # fmt: skip


def make_videos(folder: Path, *, videos: int, frames: int, objects: int, size: int) -> None:
    """Writes set.json and images/: textured frames, discs that move, some of them away."""
    rng = np.random.default_rng(0)
    height, width = size, size * 16 // 9
    content: dict[str, Any] = {"videos": [], "annotations": []}
    content["categories"] = [{"id": 1, "name": "disc"}]
    for v in range(1, videos + 1):
        names = [f"{v}/{t:04d}.jpg" for t in range(frames)]
        for t, name in enumerate(names):  # eight pictures, again and again
            file = folder / "images" / name
            if t < 8:
                write_texture(file, (height, width), rng)
            else:
                file.hardlink_to(folder / "images" / names[t % 8])
        content["videos"].append(
            {"id": v, "height": height, "width": width, "length": frames, "file_names": names}
        )
        for _ in range(objects):
            centre, speed = rng.uniform(0.2, 0.8, 2), rng.uniform(-0.2, 0.2, 2) / frames
            radius = rng.uniform(0.05, 0.15) * height
            masks: list[Any] = []
            for t in range(frames):
                corners = star(radius) + (centre + t * speed)[::-1] * (width, height)
                mask = np.zeros((height, width), dtype=np.uint8)
                cv2.fillPoly(mask, [corners.round().astype(np.int32)], 1)
                code = rle.encode(np.asfortranarray(mask))
                masks.append({"size": [height, width], "counts": code["counts"].decode()})
            away = rng.integers(0, frames, 2)
            masks[away.min() : away.max()] = [None] * (away.max() - away.min())
            content["annotations"].append(
                {"id": len(content["annotations"]) + 1, "video_id": v, "category_id": 1,
                 "iscrowd": 0, "segmentations": masks}
            )  # fmt: skip
    (folder / "set.json").write_text(json.dumps(content))


def make_stills(folder: Path, objects: int) -> None:
    """Writes stills.json and stills/: textured images, stars with 40 corners."""
    rng = np.random.default_rng(1)
    height, width = 480, 640
    content: dict[str, Any] = {"images": [], "annotations": []}
    content["categories"] = [{"id": 1, "name": "disc"}]
    for i in range(1, IMAGES + 1):
        write_texture(folder / "stills" / f"{i}.jpg", (height, width), rng)
        content["images"].append(
            {"id": i, "file_name": f"{i}.jpg", "height": height, "width": width}
        )
        for _ in range(objects):
            corners = star(rng.uniform(20, 80)) + rng.uniform(0.2, 0.8, 2) * (width, height)
            content["annotations"].append(
                {"id": len(content["annotations"]) + 1, "image_id": i, "category_id": 1,
                 "iscrowd": 0, "segmentation": [corners.ravel().round(2).tolist()]}
            )  # fmt: skip
    (folder / "stills.json").write_text(json.dumps(content))


def star(radius: float) -> np.ndarray:
    """(40, 2) corners (x, y) of a disc with a wavy border about the origin."""
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    wavy = radius * (1 + 0.1 * np.sin(8 * angles))
    return np.stack([np.cos(angles), np.sin(angles)], 1) * wavy[:, None]


def write_texture(file: Path, size: tuple[int, int], rng: np.random.Generator) -> None:
    noise = rng.integers(0, 256, (size[0] // 24, size[1] // 24, 3), dtype=np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC))


def compare_videos(records: list[Record], clips: int) -> dict[str, float]:
    ours = ClipMapper(SAMPLING, TRANSFORM)
    literal = LiteralVideos(SAMPLING, TRANSFORM)
    return compare(ours, records, literal, [video_record(record) for record in records], clips)


def compare_stills(json_file: Path, images: Path, clips: int) -> dict[str, float]:
    records, _ = read_stills(json_file, images)
    polygons: dict[int, list[Any]] = {}
    for item in json.loads(json_file.read_text())["annotations"]:
        polygons.setdefault(item["image_id"], []).append(item["segmentation"])
    plain = [still_record(record, polygons[record["video_id"]]) for record in records]
    ours = StillMapper(SAMPLING.frames, TRANSFORM, DEGREES)
    return compare(ours, records, LiteralStills(SAMPLING.frames, TRANSFORM, DEGREES), plain, clips)


def compare(
    ours: Callable[..., Any],
    records: list[Record],
    literal: Callable[..., Any],
    plain: list[dict[str, Any]],
    clips: int,
) -> dict[str, float]:
    """Milliseconds of CPU time per clip, and how well the results agree."""
    sides = {"ours": (ours, RecordStore(records)), "literal": (literal, plain)}
    spent = {"ours": 0.0, "literal": 0.0}
    pixels, masks = [], []
    for i in tqdm(range(clips + 1), unit="clip", disable=not sys.stderr.isatty()):
        index, results = i % len(records), {}
        for name in list(sides)[:: 1 if i % 2 else -1]:
            mapper, source = sides[name]
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


def memory(sources: dict[str, tuple[Path, Path]], clips: int, workers: int) -> dict[str, Any]:
    """Private memory of the loader's worker processes, MiB, after a fifth of the clips and last."""
    run = uuid.uuid4().hex
    custom = [
        {"NAME": f"{task}_{run}", "TASK": task, "JSON": str(file), "IMAGES": str(images)}
        for task, (file, images) in sources.items()
    ]
    options: dict[str, Any] = {
        "DATASETS.CUSTOM": custom,
        "DATASETS.TRAIN": [entry["NAME"] for entry in custom],
        "DATALOADER.NUM_WORKERS": workers,
        "SOLVER.IMS_PER_BATCH": 4,
        "INPUT.MIN_SIZE_TRAIN": SIZES,
        "INPUT.MAX_SIZE_TRAIN": 768,
        "INPUT.CROP.ENABLED": True,
        "INPUT.PSEUDO.MIN_SIZE_TRAIN": SIZES,
        "INPUT.PSEUDO.CROP.ENABLED": True,
    }
    cfg = get_config(opts=[item for pair in options.items() for item in pair])
    stream = iter(build_train_loader(cfg))
    batches = max(2, clips // cfg.SOLVER.IMS_PER_BATCH)
    private: list[float] = []
    start = time.perf_counter()
    for i in tqdm(range(batches), unit="batch", disable=not sys.stderr.isatty()):
        next(stream)
        if i in (batches // 5, batches - 1):
            private.append(private_memory())
    return {
        "clips": batches * cfg.SOLVER.IMS_PER_BATCH,
        "processes": len(children()),
        "private_after_fifth_mib": private[0],
        "private_at_end_mib": private[-1],
        "growth": private[-1] / private[0] - 1,
        "wall_s": time.perf_counter() - start,
    }


def children() -> list[Path]:
    """Processes that this one has started, in /proc."""
    own = Path("/proc/self").resolve().name
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text().rsplit(")", 1)[1].split()[1]
        except OSError:  # it has ended meanwhile
            continue
        if parent == own:
            found.append(folder)
    return found


def private_memory() -> float:
    """MiB that the worker processes have to themselves."""
    total = 0
    for process in children():
        for line in (process / "smaps_rollup").read_text().splitlines():
            if line.startswith("Private_"):
                total += int(line.split()[1])
    return total / 1024


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="own annotations; with --images")
    parser.add_argument("--images", type=Path, metavar="DIR")
    parser.add_argument("--clips", type=int, default=40, help="clips to time (default 40)")
    parser.add_argument(
        "--memory-clips", type=int, default=0, help="clips for the memory (0: none; needs /proc)"
    )
    parser.add_argument("--workers", type=int, default=2, help="for the memory (default 2)")
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
        stills = Path(folder) / "stills.json", Path(folder) / "stills"
        make_stills(Path(folder), options.objects)
        if options.json is None:
            make_videos(Path(folder), **{name: getattr(options, name) for name, _, _ in MADE})
            options.json, options.images = Path(folder) / "set.json", Path(folder) / "images"
        start = time.process_time()
        records, _ = read_instances(options.json, options.images)
        figures: dict[str, Any] = {
            "machine": platform.processor() or platform.machine(),
            "torch": torch.__version__,
            "reading_the_json_s": time.process_time() - start,
            "clip": compare_videos(records, options.clips),
            "still": compare_stills(*stills, options.clips),
        }
        if options.memory_clips:
            sources = {"image": stills, "vis": (options.json, options.images)}
            figures["memory"] = memory(sources, options.memory_clips, options.workers)
    print(json.dumps(figures, indent=1))
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
