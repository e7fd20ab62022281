"""Evaluator of video object segmentation: palette PNGs to disk, J and F."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dvis_daq.evaluation.files import ResultFiles
from dvis_daq.evaluation.labels import LabelEvaluator, check_map, frame_names
from dvis_daq.evaluation.object_scoring import (
    Job,
    object_figures,
    object_jobs,
    score_object_video,
)
from dvis_daq.evaluation.pictures import write_palette
from dvis_daq.metrics.label_folders import find_images, predictions_for
from dvis_daq.metrics.region_boundary import ObjectScores


class VOSEvaluator(LabelEvaluator):
    """Writes `<video>/<frame>.png` as MOSE's server takes them: object numbers, with a palette."""

    TITLE = "vos"

    def write(self, video: Mapping[str, Any], output: Mapping[str, Any]) -> None:
        """Args: output: "objects" (T, H, W) uint8 object numbers."""
        maps, names = check_map(video, output["objects"]), frame_names(video)
        for name, frame in zip(names, maps, strict=True):
            write_palette(Path(self.folder, video["video_id"], f"{name}.png"), frame)

    def jobs(self, files: ResultFiles) -> Sequence[Job]:
        truth = find_images(files.gt_root, files.videos())
        return object_jobs(truth, predictions_for(truth, files.results_root))

    def score(self, job: Job) -> ObjectScores:
        return score_object_video(job)

    def figures(self, scores: Mapping[str, ObjectScores]) -> dict[str, Any]:
        return object_figures(scores)
