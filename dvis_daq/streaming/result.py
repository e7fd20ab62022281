"""What a user gets for each frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import supervision as sv

from dvis_daq.streaming.masks import MapMasks, Masks, as_array, as_rles
from dvis_daq.streaming.state import VideoState
from dvis_daq.tasks.vis import RLE
from dvis_daq.tracks.convert import to_supervision


@dataclass(frozen=True)
class FrameResult:
    """Who is there in one frame, who came and who went. Rows are by id.

    Attributes:
        index: of the frame in the video.
        size: (height, width) of the video, pixels.
        ids: (n,) int64, the same through the video and never reused. With MODEL.TASK vps, -1 -
            class for a class of stuff; with vss the class index.
        labels: (n,) int64 class index.
        names: n names of the classes.
        scores: (n,) float, 0..1, of the whole track so far.
        frame_scores: (n,) float, 0..1, in this frame alone.
        visible: (n,) bool; False: the track waits, not seen but within its patience. A waiting
            track shows a mask where the model guesses one (TEST.SHOW_UNSEEN).
        new: ids shown for the first time.
        returned: ids that were hidden in the frame before and are visible again.
        departed: ids that will never be shown again.
        state: of the video after this frame: `VideoPredictor.stream(rest, state=...)` goes on.
    """

    index: int
    size: tuple[int, int]
    ids: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    scores: np.ndarray
    frame_scores: np.ndarray
    visible: np.ndarray
    new: tuple[int, ...]
    returned: tuple[int, ...]
    departed: tuple[int, ...]
    state: VideoState = field(repr=False)
    lazy_masks: Masks = field(repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def continued(self) -> tuple[int, ...]:
        """Ids shown before and now, visible or hidden."""
        return tuple(i for i in self.ids.tolist() if i not in self.new)

    @property
    def hidden(self) -> tuple[int, ...]:
        """Ids of the tracks that wait."""
        return tuple(self.ids[~self.visible].tolist())

    @cached_property
    def masks(self) -> np.ndarray:
        """(n, H, W) bool at the size of the video; computed when first asked for."""
        return as_array(self.lazy_masks, self.size)

    @cached_property
    def rles(self) -> list[RLE | None]:
        """COCO run-length encodings, None for a mask without a pixel."""
        return as_rles(self.lazy_masks)

    @cached_property
    def polygons(self) -> list[list[np.ndarray]]:
        """The outlines of each mask, (k, 2) int x and y; holes are filled."""
        return [sv.mask_to_polygons(mask) for mask in self.masks]

    @cached_property
    def boxes(self) -> np.ndarray:
        """(n, 4) float x0, y0, x1, y1 of the masks, the last pixel included; 0 without a pixel."""
        return sv.mask_to_xyxy(self.masks).astype(float).reshape(-1, 4)

    def to_supervision(self) -> sv.Detections:
        """For annotators, zones and counters of supervision; without rows that have no pixel."""
        return to_supervision(
            ids=self.ids, labels=self.labels, names=self.names, scores=self.scores, masks=self.masks
        )

    @property
    def class_map(self) -> np.ndarray:
        """(H, W) int64 class index of each pixel, -1 for none (vps and vss).

        Raises:
            ValueError: masks of instances may overlap; there is no such map.
        """
        if not isinstance(self.lazy_masks, MapMasks):
            raise ValueError("instances may overlap: a map of classes needs MODEL.TASK vps or vss")
        return np.append(self.labels, -1)[self.lazy_masks.row_map.cpu().numpy()]
