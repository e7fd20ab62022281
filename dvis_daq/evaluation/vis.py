"""Evaluator of video instance segmentation: results to disk, figures where labels exist."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from pathlib import Path
from typing import Any

from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from dvis_daq.evaluation.results import PartFile, concatenate, entries_of_video, merge
from dvis_daq.evaluation.scoring import score
from dvis_daq.metrics.reading import has_annotations, read_ground_truth, read_results

logger = logging.getLogger(__name__)


class VISEvaluator(DatasetEvaluator):
    """Writes `results.json` as the servers of YouTube-VIS and OVIS take it, and scores it.

    Every process appends its videos to a file of its own; the main process merges them in
    `evaluate`. All processes must share the folder.
    """

    def __init__(self, dataset_name: str, *, output_dir: str | Path, events: bool = False) -> None:
        """
        Args:
            dataset_name: a registered data set; its metadata give the json and the class ids.
            output_dir: where results.json goes.
            events: also the figures of emerging and disappearing objects.
        """
        self.dataset_name = dataset_name
        self.folder = Path(output_dir)
        self.events = events
        self._part = PartFile(self._part_path(comm.get_rank()))
        self._trace = PartFile(self._trace_path(comm.get_rank()))
        self._category_ids: list[int] = []

    def reset(self) -> None:
        """Forgets all videos."""
        ids = MetadataCatalog.get(self.dataset_name).thing_dataset_id_to_contiguous_id
        self._category_ids = sorted(ids, key=ids.__getitem__)
        self._part.clear()
        self._trace.clear()

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        """Adds videos.

        Args:
            inputs: for each, video_id, length in frames, original height and width.
            outputs: for each, "scores", "labels" and "masks", see `entries_of_video`; perhaps
                "trace", one line a frame (`metrics.explain`).
        """
        for video, output in zip(inputs, outputs, strict=True):
            entries = entries_of_video(video, output, self._category_ids)
            self._part.append(video["video_id"], entries)
            lines = enumerate(output.get("trace", ()))
            self._trace.write(
                *({"video_id": video["video_id"], "frame": t} | line for t, line in lines)
            )

    def evaluate(self) -> OrderedDict[str, dict[str, float]]:
        """Merges and scores.

        Returns:
            On the main process {"segm": figures in percent, NaN where undefined}, with "AP-" +
            class name for each class, and {"events": ...} if asked for; empty on the others and
            where the data set has no labels.
        """
        comm.synchronize()  # all parts are written
        try:
            if comm.is_main_process():
                self._merge()
        finally:
            comm.synchronize()  # nobody clears a part that is being read
        return self._score() if comm.is_main_process() else OrderedDict()

    @property
    def results_file(self) -> Path:
        return self.folder / "results.json"

    @property
    def trace_file(self) -> Path:
        return self.folder / "trace.jsonl"

    def _trace_path(self, rank: int) -> Path:
        return self.folder / f"trace.part{rank}.jsonl"

    def _part_path(self, rank: int) -> Path:
        return self.folder / f"results.part{rank}.jsonl"

    def _merge(self) -> None:
        ranks = range(comm.get_world_size())
        parts = [self._part_path(rank) for rank in ranks]
        count = merge(parts, self.results_file)
        traces = [self._trace_path(rank) for rank in ranks]
        concatenate(traces, self.trace_file)
        for part in parts + traces:
            part.unlink()
        logger.info("Wrote %d tracks to %s", count, self.results_file)

    def _score(self) -> OrderedDict[str, dict[str, float]]:
        json_file = MetadataCatalog.get(self.dataset_name).json_file
        if not has_annotations(json_file):
            logger.info(
                "%s has no annotations, so there are no figures. To get them from the server of "
                "the data set, zip %s (alone, at the top level of the zip) and submit it.",
                *(json_file, self.results_file),
            )
            return OrderedDict()
        truth = read_ground_truth(json_file)
        figures = score(truth, read_results(self.results_file, truth), events=self.events)
        segm = {
            name: _percent(value) for name, value in figures.items() if name[:2] in ("AP", "AR")
        }
        segm |= {f"AP-{row['name']}": _percent(row["AP"]) for row in figures["per_class"].values()}
        results = OrderedDict(segm=segm)
        if self.events:
            results["events"] = _event_summary(figures["events"])
        return results


def _event_summary(events: dict[str, Any]) -> dict[str, float]:
    """The main event figures in percent, latency in frames."""
    presence = events["presence"]
    rates = ("emergence_recall", "disappearance_recall", "ghost_rate", "id_switch_rate")
    latency = presence["latency_mean"]
    return {
        **{f"AP_{flag}": _percent(row["AP"]) for flag, row in events["ap"].items()},
        **{name: _percent(presence[name]) for name in rates},
        "latency_mean": math.nan if latency is None else latency,
    }


def _percent(fraction: float | None) -> float:
    return math.nan if fraction is None else 100 * fraction
