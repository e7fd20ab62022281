"""What the evaluators of panoptic, semantic and object segmentation have in common."""

from __future__ import annotations

import logging
import math
import pickle
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from dvis_daq.evaluation.files import ResultFiles

logger = logging.getLogger(__name__)


class LabelEvaluator(DatasetEvaluator):
    """Writes label images video by video, then scores them where there are labels.

    Nothing is kept in memory, and nothing but files is exchanged: every process writes its
    videos, then scores every n-th one of all, and the main process sums up. The figures do not
    depend on the number of processes. All processes must share the folder.
    """

    TITLE: str  # of the figures

    def __init__(self, dataset_name: str, *, output_dir: str | Path, events: bool = False) -> None:
        """
        Args:
            dataset_name: a registered data set; its metadata give the files and the classes.
            output_dir: where the results go.
            events: also the figures of what emerges and disappears, where the task has any.
        """
        self.dataset_name = dataset_name
        self.folder = Path(output_dir)
        self.events = events

    @property
    def metadata(self) -> Any:
        return MetadataCatalog.get(self.dataset_name)

    def reset(self) -> None:
        """Begins anew."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._scores_path(comm.get_rank()).unlink(missing_ok=True)

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        """Writes videos.

        Args:
            inputs: for each, video_id, file_names, original height and width.
            outputs: for each, what the task head gives.
        """
        for video, output in zip(inputs, outputs, strict=True):
            self.write(video, output)

    def evaluate(self) -> OrderedDict[str, dict[str, float]]:
        """Merges and scores.

        Returns:
            On the main process {TITLE: figures in percent, NaN where undefined}; empty on the
            others and where the data set has no labels.
        """
        comm.synchronize()  # everything is written
        try:
            if comm.is_main_process():
                self.merge()
        finally:
            comm.synchronize()
        files = self._labelled_files()
        try:
            if files is not None:
                self._score_share(files)
        finally:
            comm.synchronize()  # all scores are written
        if not comm.is_main_process():
            return OrderedDict()
        if files is None:
            logger.info(
                "%s has no labels, so there are no figures. To get them from the server of the "
                "data set: tools/eval.py with --submission packs %s.",
                *(self.metadata.json_file, self.folder),
            )
            return OrderedDict()
        figures = self.figures(self._all_scores())
        return OrderedDict({self.TITLE: percent(figures)})

    @abstractmethod
    def write(self, video: Mapping[str, Any], output: Mapping[str, Any]) -> None:
        """Writes the results of one video."""

    def merge(self) -> None:
        """Main process: joins what the processes wrote."""

    @abstractmethod
    def jobs(self, files: ResultFiles) -> Sequence[Any]:
        """The labelled videos in a fixed order, as `score` takes them; the name comes first."""

    @abstractmethod
    def score(self, job: Any) -> Any:
        """What one video adds to the figures."""

    @abstractmethod
    def figures(self, scores: Mapping[str, Any]) -> dict[str, Any]:
        """Figures, fractions, from the scores by name of the video."""

    def _labelled_files(self) -> ResultFiles | None:
        """None where there are no labels; the same on every process."""
        if self.metadata.get("mask_root") is None:
            return None
        files = ResultFiles.of_run(self.metadata, self.folder)
        return files if files.has_labels() else None

    def _score_share(self, files: ResultFiles) -> None:
        share = self.jobs(files)[comm.get_rank() :: comm.get_world_size()]
        scores = {job[0]: self.score(job) for job in share}
        self._scores_path(comm.get_rank()).write_bytes(pickle.dumps(scores))

    def _all_scores(self) -> dict[str, Any]:
        paths = [self._scores_path(rank) for rank in range(comm.get_world_size())]
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise ValueError(
                f"{missing[0]} is missing: that process failed, or does not share OUTPUT_DIR"
            )
        scores: dict[str, Any] = {}
        for path in paths:
            scores |= pickle.loads(path.read_bytes())  # our own, of this run
            path.unlink()
        return scores

    def _scores_path(self, rank: int) -> Path:
        return self.folder / f".scores.part{rank}.pkl"


def check_map(video: Mapping[str, Any], labels: Any) -> np.ndarray:
    """A label map (T, H, W) of a task head as an array.

    Raises:
        ValueError: another number or size of frames than the video's.
    """
    wanted = len(video["file_names"]), video["height"], video["width"]
    if tuple(labels.shape) != wanted:
        raise ValueError(
            f"video {video['video_id']} is {wanted} (frames, height, width), its labels "
            f"{tuple(labels.shape)}: give them at the original size of the video"
        )
    return labels.cpu().numpy()


def frame_names(video: Mapping[str, Any]) -> list[str]:
    """Names of the frames without folder and ending, as results are called.

    Raises:
        ValueError: two frames would have one file.
    """
    names = [Path(name).stem for name in video["file_names"]]
    if len(set(names)) < len(names):
        raise ValueError(f"video {video['video_id']} has two frames of one name")
    return names


def percent(figures: Mapping[str, Any]) -> dict[str, float]:
    """The fractions among the figures, in percent, NaN for undefined ones."""
    plain = {k: v for k, v in figures.items() if v is None or isinstance(v, float)}
    return {k: math.nan if v is None else 100 * v for k, v in plain.items()}
