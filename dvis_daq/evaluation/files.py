"""The files of a task: what a data set gives, what a model wrote, and the figures of the two."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvis_daq.evaluation.object_scoring import folders, is_labelled, score_object_files
from dvis_daq.evaluation.panoptic_scoring import score_panoptic_files
from dvis_daq.evaluation.scoring import score_files
from dvis_daq.evaluation.semantic_scoring import MASK_FOLDER, score_semantic_files
from dvis_daq.metrics.label_folders import find_images, read_video_names
from dvis_daq.metrics.panoptic_reading import has_segments
from dvis_daq.metrics.reading import has_annotations

# What each task needs; vos takes every folder of `gt_root` where there is no `gt`.
TASKS = {
    "vis": ("gt", "results"),
    "vps": ("gt", "gt_root", "results", "results_root"),
    "vss": ("gt", "gt_root", "results_root"),
    "vos": ("gt_root", "results_root"),
}
# Names under which the evaluators write, within their folder.
INSTANCES, PANOPTIC, PANOPTIC_FOLDER = "results.json", "pred.json", "pan_pred"


@dataclass(frozen=True)
class ResultFiles:
    """Ground truth and results of a task, see `TASKS`.

    Attributes:
        gt: json of vis and vps; list of videos of vss and vos (text or json).
        gt_root: vps, vos: <video>/<frame>.png; vss: <video>/mask/<frame>.png.
        results: results.json of vis, pred.json of vps.
        results_root: <video>/<frame>.png of the others and of vps.
        image_root: vss: <video>/origin/<frame>.jpg; vos: <video>/<frame>.jpg. Only a submission
            needs it; None looks beside the masks.
    """

    task: str
    gt: Path | None = None
    gt_root: Path | None = None
    results: Path | None = None
    results_root: Path | None = None
    image_root: Path | None = None

    def __post_init__(self) -> None:
        lacking = [name for name in TASKS[self.task] if getattr(self, name) is None]
        if lacking:
            raise ValueError(f"task {self.task} needs {', '.join(lacking)}")

    @classmethod
    def of_run(cls, metadata: Any, folder: Path) -> ResultFiles:
        """Of a registered data set, and of what its evaluator wrote to `folder`.

        Raises:
            ValueError: the data set is for no such task, or has no masks.
        """
        task, masks, images = (metadata.get(f) for f in ("task", "mask_root", "image_root"))
        if task not in TASKS:
            raise ValueError(
                f"data set '{metadata.name}' is for none of {', '.join(TASKS)}: {task}"
            )
        if task != "vis" and masks is None:
            raise ValueError(
                f"data set '{metadata.name}' has no folder of masks, which {task} is scored and "
                "packed with; name it as MASKS"
            )
        names = {
            "vis": (INSTANCES, None),
            "vps": (PANOPTIC, PANOPTIC_FOLDER),
            "vss": (None, ""),
            "vos": (None, ""),
        }[task]
        results, root = (None if name is None else folder / name for name in names)
        gt_root = None if masks is None else Path(masks)
        image_root = None if images is None else Path(images)
        return cls(task, Path(metadata.json_file), gt_root, results, root, image_root)

    def has_labels(self) -> bool:
        """Whether there is anything to score against."""
        if self.task == "vis":
            return has_annotations(self.gt)
        if self.task == "vps":
            return has_segments(self.gt)
        if self.task == "vss":
            videos = read_video_names(self.gt)
            return any(Path(self.gt_root, video, MASK_FOLDER).is_dir() for video in videos)
        return is_labelled(find_images(self.gt_root, self.videos()))

    def videos(self) -> list[str]:
        """Names of the videos of vss or vos."""
        return folders(self.gt_root) if self.gt is None else read_video_names(self.gt)

    def score(
        self,
        *,
        videos: Collection[str] | None = None,
        long_videos: Collection[str] | None = None,
        events: bool = False,
        trace_file: Path | None = None,
        workers: int = 1,
    ) -> dict[str, Any]:
        """All figures by name, fractions; see the function of the task.

        Args:
            videos: ids or names; only these.
            long_videos, trace_file: of vis, see `scoring.score_files`.
            events: of vis and vps, figures of what emerges and disappears.
            workers: processes.

        Raises:
            ValueError: a file cannot be scored; names file, entry and remedy.
        """
        roots = {"truth_root": self.gt_root, "results_root": self.results_root}
        common: dict[str, Any] = {"videos": videos, "workers": workers}
        if self.task == "vis":
            numbers = {"videos": numbered(videos), "long_videos": numbered(long_videos)}
            options = {"events": events, "trace_file": trace_file, "workers": workers}
            return score_files(self.gt, self.results, **numbers, **options)
        if self.task == "vps":
            return score_panoptic_files(self.gt, self.results, events=events, **roots, **common)
        score = score_semantic_files if self.task == "vss" else score_object_files
        return score(self.gt, **roots, **common)


def numbered(videos: Collection[str] | None) -> list[int] | None:
    """Ids of vis, which are numbers.

    Raises:
        ValueError: one is not.
    """
    odd = [video for video in videos or () if not str(video).isdecimal()]
    if odd:
        raise ValueError(f"'{odd[0]}' is no file and no list of video ids, which are whole numbers")
    return None if videos is None else [int(video) for video in videos]
