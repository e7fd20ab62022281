"""Evaluator of video semantic segmentation: grey PNGs to disk, mIoU and video consistency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dvis_daq.evaluation.files import ResultFiles
from dvis_daq.evaluation.labels import LabelEvaluator, check_map, frame_names
from dvis_daq.evaluation.pictures import write_grey
from dvis_daq.evaluation.semantic_scoring import (
    Job,
    score_semantic_video,
    semantic_figures,
    semantic_jobs,
    truth_images,
)
from dvis_daq.metrics.label_folders import predictions_for
from dvis_daq.metrics.semantic import VideoLabels


class VSSEvaluator(LabelEvaluator):
    """Writes `<video>/<frame>.png` as VSPW's scripts take them: ids of classes, from 0."""

    TITLE = "sem_seg"

    def write(self, video: Mapping[str, Any], output: Mapping[str, Any]) -> None:
        """Args: output: "semantic" (T, H, W) class indices."""
        maps, names = check_map(video, output["semantic"]), frame_names(video)
        table = np.array(self._class_ids(), np.uint8)
        for name, frame in zip(names, maps, strict=True):
            write_grey(Path(self.folder, video["video_id"], f"{name}.png"), table[frame])

    def jobs(self, files: ResultFiles) -> Sequence[Job]:
        truth = truth_images(files.gt, files.gt_root)
        return semantic_jobs(truth, predictions_for(truth, files.results_root))

    def score(self, job: Job) -> VideoLabels:
        return score_semantic_video(job, 1 + max(self._class_ids()))

    def figures(self, scores: Mapping[str, VideoLabels]) -> dict[str, Any]:
        names = {row["id"]: row["name"] for row in self.metadata.categories}
        figures = semantic_figures(scores, names=names)
        return figures | {f"IoU-{row['name']}": row["IoU"] for row in figures["per_class"].values()}

    def _class_ids(self) -> list[int]:
        """Id in the data set of each class index."""
        numbers = self.metadata.thing_dataset_id_to_contiguous_id
        return sorted(numbers, key=numbers.__getitem__)
