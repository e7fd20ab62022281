"""Evaluator of video panoptic segmentation: pred.json and PNGs to disk, VPQ and STQ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from detectron2.utils import comm

from dvis_daq.checkpoint import write_atomically
from dvis_daq.evaluation.files import PANOPTIC, PANOPTIC_FOLDER, ResultFiles
from dvis_daq.evaluation.labels import LabelEvaluator, check_map, frame_names
from dvis_daq.evaluation.panoptic_scoring import (
    Job,
    VideoScores,
    jobs,
    panoptic_figures,
    score_video,
)
from dvis_daq.evaluation.pictures import category_colors, segment_colors, write_segments
from dvis_daq.evaluation.results import PartFile, read_parts
from dvis_daq.metrics.panoptic import Category
from dvis_daq.metrics.panoptic_reading import read_panoptic_results, read_panoptic_truth


class VPSEvaluator(LabelEvaluator):
    """Writes `pred.json` and `pan_pred/<video>/<frame>.png` as VIPSeg's scripts take them."""

    TITLE = "panoptic_seg"

    def reset(self) -> None:
        super().reset()
        self._part(comm.get_rank()).clear()

    def write(self, video: Mapping[str, Any], output: Mapping[str, Any]) -> None:
        """Args: output: "panoptic" (T, H, W) and "segments", see `tasks.vps.Panoptic`."""
        maps, names = check_map(video, output["panoptic"]), frame_names(video)
        numbers = self.metadata.thing_dataset_id_to_contiguous_id
        class_ids = sorted(numbers, key=numbers.__getitem__)
        colors = category_colors(self.metadata.categories)
        categories = [class_ids[segment["category_id"]] for segment in output["segments"]]
        ids = segment_colors(categories, colors)
        table = np.zeros(1 + max((s["id"] for s in output["segments"]), default=0), np.uint32)
        for segment, number in zip(output["segments"], ids, strict=True):
            table[segment["id"]] = number
        category_of = dict(zip(ids, categories, strict=True))
        folder, listed = self.folder / PANOPTIC_FOLDER / video["video_id"], []
        for name, frame in zip(names, maps, strict=True):
            colored = table[frame]
            write_segments(folder / f"{name}.png", colored)
            segments = [_describe(colored, n, category_of[n]) for n in np.unique(colored) if n]
            listed.append({"file_name": f"{name}.png", "segments_info": segments})
        self._part(comm.get_rank()).append(video["video_id"], listed)

    def merge(self) -> None:
        parts = [self._part(rank) for rank in range(comm.get_world_size())]
        videos = [
            {"video_id": line["video_id"], "annotations": line["results"]}
            for line in read_parts([part.path for part in parts])
        ]
        content = json.dumps({"annotations": videos}).encode("ascii")
        write_atomically(self.folder / PANOPTIC, lambda file: file.write(content))
        for part in parts:
            part.path.unlink()

    def jobs(self, files: ResultFiles) -> Sequence[Job]:
        truth = read_panoptic_truth(files.gt, files.gt_root)
        return jobs(truth, read_panoptic_results(files.results, files.results_root, truth))

    def score(self, job: Job) -> VideoScores:
        return score_video(job, self._categories())

    def figures(self, scores: Mapping[str, VideoScores]) -> dict[str, Any]:
        source, options = self.metadata.json_file, {"events": self.events}
        figures = panoptic_figures([*scores.values()], self._categories(), source=source, **options)
        rows = figures["per_class"].values()
        return figures | {f"VPQ-{row['name']}": row["VPQ"] for row in rows}

    def _categories(self) -> dict[int, Category]:
        rows = {row["id"]: row for row in self.metadata.categories}
        return {n: Category(rows[n]["name"], bool(rows[n]["isthing"])) for n in sorted(rows)}

    def _part(self, rank: int) -> PartFile:
        return PartFile(Path(self.folder, f"pred.part{rank}.jsonl"))


def _describe(ids: np.ndarray, number: np.integer, category: int) -> dict[str, Any]:
    """Entry of `segments_info` of one segment that has a pixel."""
    mask = (ids == number).astype(np.uint8)
    return {
        "id": int(number),
        "category_id": category,
        "iscrowd": 0,
        "area": int(np.count_nonzero(mask)),
        "bbox": list(cv2.boundingRect(mask)),
    }
