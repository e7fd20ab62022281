"""The same figures from TrackEval, a public evaluator on the package index."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco

AREAS = [[0, 128**2], [128**2, 256**2], [256**2, 1e10]]  # of YouTube-VIS; its own are TAO's


def prepare_trackeval(gt: Path, results: Path, folder: Path) -> None:
    """Lays out two YouTube-VIS json files as TrackEval wants them, in an empty `folder`."""
    truth, tracker = folder / "gt" / "youtube_vis_split", folder / "trackers"
    tracker = tracker / "youtube_vis_split" / "peer" / "data"
    for place in (truth, tracker):
        place.mkdir(parents=True)
    (truth / "gt.json").write_text(json.dumps(_uncompressed(json.loads(gt.read_text()))))
    (tracker / "results.json").write_text(results.read_text())


def run_trackeval(folder: Path) -> dict[str, float]:
    """AP, AP50, AP75, APs, APm, APl, AR100, ARs, ARm and ARl, fractions.

    Comparable for ground truth without crowd. Runs in this process and on one core.
    """
    import trackeval

    dataset = {
        "GT_FOLDER": f"{folder / 'gt'}/",
        "TRACKERS_FOLDER": f"{folder / 'trackers'}/",
        "OUTPUT_FOLDER": str(folder / "out"),
        "SPLIT_TO_EVAL": "split",
        "PRINT_CONFIG": False,
    }
    metric = {
        "AREA_RANGES": AREAS,
        "USE_TIME_RANGES": False,
        "MAX_DETECTIONS": 100,
        "IOU_THRESHOLDS": np.linspace(0.5, 0.95, 10),
        "PRINT_CONFIG": False,
    }
    switches = ("PRINT_CONFIG", "PRINT_RESULTS", "TIME_PROGRESS", "OUTPUT_SUMMARY")
    switches += ("OUTPUT_DETAILED", "PLOT_CURVES", "OUTPUT_EMPTY_CLASSES")
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = trackeval.Evaluator(dict.fromkeys(switches, False))
        datasets = [trackeval.datasets.YouTubeVIS(dataset)]
        output, _ = evaluator.evaluate(datasets, [trackeval.metrics.TrackMAP(metric)])
    return _named(output["YouTubeVIS"]["peer"]["COMBINED_SEQ"]["cls_comb_cls_av"]["TrackMAP"])


def _uncompressed(truth: dict[str, Any]) -> dict[str, Any]:
    """TrackEval reads true masks as polygons or as lists of runs only."""
    for track in truth["annotations"]:
        track["segmentations"] = [_runs(mask) for mask in track["segmentations"]]
    return truth


def _runs(rle: dict[str, Any] | None) -> dict[str, Any] | None:
    if rle is None or isinstance(rle["counts"], list):
        return rle
    pixels = coco.decode(rle).ravel(order="F")
    edges = np.flatnonzero(np.diff(pixels)) + 1
    runs = np.diff([0, *edges, pixels.size]).tolist()
    return {"size": rle["size"], "counts": [0, *runs] if pixels[0] else runs}


def _named(row: dict[str, np.ndarray]) -> dict[str, float]:
    """Its means over thresholds under the usual names."""
    figures = {"AP50": row["AP_all"][0], "AP75": row["AP_all"][5]}
    for ours, theirs in (("", "all"), ("s", "area_s"), ("m", "area_m"), ("l", "area_l")):
        figures[f"AP{ours}"] = row[f"AP_{theirs}"].mean()
        figures[f"AR{ours or 100}"] = row[f"AR_{theirs}"].mean()
    return {name: float(value) for name, value in figures.items()}
