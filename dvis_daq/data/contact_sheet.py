"""A picture of a data set: some videos, some frames of each, masks in colour."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from dvis_daq.data.annotations import Record
from dvis_daq.data.classes import Categories
from dvis_daq.data.images import read_image
from dvis_daq.data.transforms import Plan
from dvis_daq.visualization import OverlayStyle, draw_tracks

STYLE = OverlayStyle(parts=("masks", "contours", "labels", "ids"))
CAPTION = 18  # height of the line above a frame, pixels


def contact_sheet(
    records: Sequence[Record], categories: Categories, *, columns: int, width: int
) -> np.ndarray:
    """One row per video, its frames evenly spaced from the first to the last.

    Args:
        records: the videos to show.
        categories: of their data set.
        columns: frames per video.
        width: of a frame, pixels.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    rows = [_row(record, categories, columns, width) for record in records]
    return np.concatenate(rows)


def spread(length: int, count: int) -> list[int]:
    """At most `count` indices of 0..length-1, evenly spaced, both ends included."""
    return sorted({int(i) for i in np.linspace(0, length - 1, min(count, length)).round()})


def _row(record: Record, categories: Categories, columns: int, width: int) -> np.ndarray:
    height = max(1, round(width * record["height"] / record["width"]))
    row = np.full((height + CAPTION, columns * width, 3), 255, dtype=np.uint8)
    for column, t in enumerate(spread(record["length"], columns)):
        tile = row[:, column * width : (column + 1) * width]
        tile[:CAPTION] = _line(f"video {record['video_id']}, frame {t}", width)
        tile[CAPTION:] = _drawn(record, categories, t, (width, height))
    return row


def _drawn(record: Record, categories: Categories, t: int, size: tuple[int, int]) -> np.ndarray:
    """Frame `t` with its objects at `size` (width, height)."""
    original = (record["height"], record["width"])
    frame = read_image(record["file_names"][t], original).permute(1, 2, 0).contiguous().numpy()
    grid = Plan.start(original).resized((size[1], size[0])).grid()
    targets = record["targets"].read([t], grid)
    return draw_tracks(
        cv2.resize(frame, size, interpolation=cv2.INTER_AREA),
        masks=targets.masks[:, 0].numpy(),
        ids=targets.ids.tolist(),
        names=[categories.names[k] for k in targets.labels.tolist()],
        scores=[1.0] * len(targets),
        style=STYLE,
    )


def _line(text: str, width: int) -> np.ndarray:
    line = np.full((CAPTION, width, 3), 255, dtype=np.uint8)
    cv2.putText(line, text, (4, CAPTION - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1)
    return line
