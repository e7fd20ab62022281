"""Time and memory of the evaluators, on synthetic sets made from a seed.

    python benchmarks/evaluators.py                  # 150 videos of 60 frames, 480x854
    python benchmarks/evaluators.py --peer           # TrackEval on the same files, in the same run
    python benchmarks/evaluators.py --keep folder    # keeps gt.json and results.json
    python benchmarks/evaluators.py --labels 6       # VPQ, STQ, mIoU and VC alone: 6 videos of
                                                     # 24 frames, 720x1280; seconds per video

Every evaluator gets a fresh process and the files. Seconds are from the files to the
figures, without imports; memory is the peak of the whole process (and of its largest worker).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a plain checkout

import numpy as np
from pycocotools import mask as coco

from benchmarks.label_sets import write_panoptic_set, write_semantic_set
from benchmarks.peers import prepare_trackeval, run_trackeval
from dvis_daq.evaluation.panoptic_scoring import score_panoptic_files
from dvis_daq.evaluation.scoring import score_files
from dvis_daq.evaluation.semantic_scoring import score_semantic_files
from dvis_daq.metrics import stq
from dvis_daq.metrics.panoptic import Frames, PanopticTruth
from dvis_daq.metrics.panoptic_reading import read_panoptic_results, read_panoptic_truth
from dvis_daq.metrics.segment_counts import class_indices, count_segments
from dvis_daq.metrics.vpq import WINDOWS, total, window_sums_by_class

CLASSES = 40
CORNERS = 48  # of an outline; with its radius they make run lengths of some 600 bytes
FILES = ("gt.json", "results.json")

Outline = tuple[int, np.ndarray, np.ndarray]  # class, (CORNERS, 2) around 0, (T, 2) centres


def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    if args.labels:
        label_main(args)
        return
    settings = {name: getattr(args, name) for name in ("videos", "frames", "size", "predictions")}
    with tempfile.TemporaryDirectory() as scratch:
        folder, peer = args.keep or Path(scratch, "set"), Path(scratch, "peer")
        alone(write_set, folder, args.seed, **settings)
        rows = {
            f"ours, {workers} process{'es' * (workers > 1)}": alone(ours, folder, workers)
            for workers in dict.fromkeys((1, args.workers))
        }
        if args.peer:
            alone(prepare_trackeval, *(folder / name for name in FILES), peer)
            rows["TrackEval"] = alone(trackeval, peer)
    report(rows)
    if args.json:
        write(args.json, settings | {"seed": args.seed}, rows)


def label_main(args: argparse.Namespace) -> None:
    """The evaluators of label images."""
    settings = {"videos": args.labels, "frames": 24, "size": (720, 1280)}
    rows = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.keep or Path(scratch, "labels")
        alone(write_panoptic_set, folder / "vps", args.seed, **settings)
        alone(write_semantic_set, folder / "vss", args.seed, **settings)
        for name, part in PANOPTIC_PARTS.items():
            rows[name] = alone(panoptic, folder / "vps", part)
        for workers in dict.fromkeys((1, args.workers)):
            rows[f"VPQ, STQ, x{workers}"] = alone(panoptic, folder / "vps", None, workers)
            rows[f"mIoU, VC, x{workers}"] = alone(semantic, folder / "vss", workers)
    rows = {name: row | {"seconds": row["seconds"] / args.labels,
                         "cpu_seconds": row["cpu_seconds"] / args.labels}
            for name, row in rows.items()}  # fmt: skip
    report(rows, "PQ/SQ")
    if args.json:
        write(args.json, settings | {"seed": args.seed}, rows)


def write(path: Path, settings: dict[str, Any], rows: dict[str, dict[str, float]]) -> None:
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    machine = {"cpu": platform.machine(), "cores": os.cpu_count(), **versions}
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine, "settings": settings, "rows": rows}
    path.write_text(json.dumps(content, indent=1) + "\n")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=int, default=150)
    parser.add_argument("--frames", type=int, default=60, help="of each video")
    parser.add_argument("--predictions", type=int, default=10, help="of each video")
    parser.add_argument("--size", type=int, nargs=2, default=(480, 854), metavar=("H", "W"))
    parser.add_argument("--labels", type=int, metavar="N", help="N videos of label images instead")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes of the second row")
    parser.add_argument("--peer", action="store_true", help="also TrackEval")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the files here")
    parser.add_argument("--json", type=Path, help="write the rows and the machine")
    return parser


def alone(function: Callable[..., Any], *values: Any, **settings: Any) -> Any:
    """Calls a function in a fresh process, which has a peak of memory of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *values, **settings).result()


def ours(folder: Path, workers: int) -> dict[str, float]:
    return measured(lambda: score_files(*(folder / name for name in FILES), workers=workers))


def panoptic(folder: Path, part: str | None, workers: int = 1) -> dict[str, float]:
    """All figures, or those that one metric needs."""
    files = folder / "gt.json", folder / "pred.json"
    roots = {"truth_root": folder / "masks", "results_root": folder / "pan_pred"}
    if part is None:
        return measured(
            lambda: score_panoptic_files(*files, workers=workers, **roots), figure="VPQ"
        )
    truth = read_panoptic_truth(files[0], roots["truth_root"])
    results = read_panoptic_results(files[1], roots["results_root"], truth)
    return measured(lambda: one_metric(part, truth, results), figure="AP")


def one_metric(part: str, truth: PanopticTruth, results: dict[str, Frames]) -> dict[str, float]:
    """VPQ or STQ alone, from the PNGs to the figure."""
    index = class_indices(list(truth.categories))
    things = np.array([category.isthing for category in truth.categories.values()])
    counts = (count_segments(v, results[v], truth.videos[v], index) for v in truth.videos)
    if part == "stq":
        return {"AP": stq.figures(stq.video_tracks(c, things) for c in counts)["STQ"]}
    parts = [[window_sums_by_class(c, k, len(index)) for k in WINDOWS] for c in counts]
    sums = [total(column, len(index)) for column in zip(*parts, strict=True)]
    return {"AP": float(np.mean([s.mean(things | True)["PQ"] for s in sums]))}


PANOPTIC_PARTS = {"VPQ, 5 windows": "vpq", "STQ": "stq"}


def semantic(folder: Path, workers: int) -> dict[str, float]:
    roots = {"truth_root": folder / "data", "results_root": folder / "pred"}
    return measured(
        lambda: score_semantic_files(folder / "val.txt", workers=workers, **roots), figure="mIoU"
    )


def trackeval(folder: Path) -> dict[str, float]:
    import trackeval  # noqa: F401  the time of importing is not counted

    return measured(lambda: run_trackeval(folder))


def measured(evaluate: Callable[[], dict[str, Any]], figure: str = "AP") -> dict[str, float]:
    """Seconds, CPU seconds with those of workers, peak MiB of the largest process, a figure."""
    people = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    before = [resource.getrusage(who) for who in people]
    start = time.perf_counter()
    figures = evaluate()
    seconds = time.perf_counter() - start
    after = [resource.getrusage(who) for who in people]
    return {
        "seconds": seconds,
        "cpu_seconds": sum(one.ru_utime + one.ru_stime for one in after)
        - sum(one.ru_utime + one.ru_stime for one in before),
        "peak_mib": max(one.ru_maxrss for one in after) / 1024,
        "figure": figures[figure],
    }


def report(rows: dict[str, dict[str, float]], figure: str = "AP") -> None:
    first = next(iter(rows.values()))["seconds"]
    print(f"{'evaluator':<18}{'seconds':>9}{'CPU s':>9}{'MiB':>8}{figure:>9}{'time':>8}")
    for name, row in rows.items():
        print(
            f"{name:<18}{row['seconds']:>9.2f}{row['cpu_seconds']:>9.2f}{row['peak_mib']:>8.0f}"
            f"{100 * row['figure']:>9.3f}{row['seconds'] / first:>7.1f}x"
        )


def write_set(
    folder: Path, seed: int, *, videos: int, frames: int, size: Sequence[int], predictions: int
) -> None:
    """Writes gt.json and results.json."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    categories = [{"id": k, "name": f"class {k}"} for k in range(1, CLASSES + 1)]
    truth: dict[str, list] = {"videos": [], "categories": categories, "annotations": []}
    results: list[dict[str, Any]] = []
    shape = {"height": size[0], "width": size[1], "length": frames}
    for video in range(1, videos + 1):
        names = [f"{video:04d}/{t:05d}.jpg" for t in range(frames)]
        truth["videos"].append({"id": video, "file_names": names, **shape})
        outlines = objects(rng, frames, size)
        for outline in outlines:
            masks = draw(outline, size)
            areas = [mask and int(coco.area(mask)) for mask in masks]
            entry = {"id": len(truth["annotations"]) + 1, "iscrowd": 0, "areas": areas, **shape}
            truth["annotations"].append(entry | common(video, outline, masks))
        for n in range(predictions):
            outline = shaken(rng, outlines[n % len(outlines)])
            entry = {"score": float(rng.uniform())}
            results.append(entry | common(video, outline, draw(outline, size)))
    for name, content in zip(FILES, (truth, results), strict=True):
        (folder / name).write_text(json.dumps(content))


def common(video: int, outline: Outline, masks: list[dict | None]) -> dict[str, Any]:
    return {"video_id": video, "category_id": outline[0], "segmentations": masks}


def objects(rng: np.random.Generator, frames: int, size: Sequence[int]) -> list[Outline]:
    """Four to six blobs of two classes that drift through the video."""
    classes = rng.integers(1, CLASSES + 1, size=2)
    angle = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    result = []
    for _ in range(rng.integers(4, 7)):
        reach = rng.uniform(45, 90) * (1 + 0.12 * rng.standard_normal(CORNERS))
        corners = np.stack([reach * np.cos(angle), reach * np.sin(angle)], axis=1)
        start = rng.uniform(0, 1, 2) * (size[1], size[0])
        path = start + np.arange(frames)[:, None] * rng.normal(0, 1.5, 2)
        result.append((int(rng.choice(classes)), corners, path))
    return result


def shaken(rng: np.random.Generator, outline: Outline) -> Outline:
    """A prediction: a little larger, moved as a whole and from frame to frame."""
    label, corners, path = outline
    noise = rng.normal(0, 8, 2) + rng.normal(0, 1.5, path.shape)
    return label, 1.05 * corners, path + noise


def draw(outline: Outline, size: Sequence[int]) -> list[dict | None]:
    """RLE in each frame, null where nothing of the outline is inside."""
    _, corners, path = outline
    polygons = [[(corners + centre).ravel().tolist()] for centre in path]
    rles = [coco.frPyObjects(polygon, *size)[0] for polygon in polygons]
    texts = [{"size": list(size), "counts": rle["counts"].decode()} for rle in rles]
    return [text if coco.area(rle) else None for text, rle in zip(texts, rles, strict=True)]


if __name__ == "__main__":
    main()
