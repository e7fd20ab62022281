"""Draws tracks over a frame (annotators of `supervision`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import supervision as sv

PARTS = ("masks", "contours", "boxes", "labels", "ids", "scores")
DEFAULT_PARTS = ("masks", "contours", "labels", "ids", "scores")
MAX_ENLARGED = 2560  # px, longer side of an enlarged frame: more is hard to play

_COLOURS = 61  # prime, so that ids that count in even steps do not share colours
_GOLDEN_RATIO = 0.618034


@dataclass(frozen=True)
class OverlayStyle:
    """What is drawn, and how.

    Attributes:
        parts: any of `PARTS`; `labels` (class names), `ids` and `scores` make up the text.
        opacity: of the masks, 0..1.
        min_side: px; a smaller frame is enlarged by a whole factor to reach it, as long as its
            longer side stays below `MAX_ENLARGED`.
    """

    parts: Sequence[str] = DEFAULT_PARTS
    opacity: float = 0.5
    min_side: int = 0

    def __post_init__(self) -> None:
        for part in self.parts:
            if part not in PARTS:
                raise ValueError(f"cannot draw '{part}'; choose from {', '.join(PARTS)}")


def draw_tracks(
    frame: np.ndarray,
    *,
    masks: np.ndarray,
    ids: Sequence[int],
    names: Sequence[str],
    scores: Sequence[float],
    style: OverlayStyle | None = None,
) -> np.ndarray:
    """A new frame with n tracks drawn over it.

    A track has the colour of its id, so it keeps it through a video. Empty masks are left out.

    Args:
        frame: (H, W, 3) uint8 RGB.
        masks: (n, H, W) bool.
        ids: n track ids.
        names: n class names.
        scores: n numbers 0..1.

    Returns:
        (s H, s W, 3) uint8 RGB; s is 1 unless `style.min_side` asks for more.

    Raises:
        ValueError: the shapes do not fit together.
    """
    style = style or OverlayStyle()
    _check_shapes(frame, masks, ids, names, scores)
    canvas, masks = _enlarge(frame, masks, style.min_side)
    canvas = np.ascontiguousarray(canvas[..., ::-1])  # supervision and OpenCV want BGR
    shown = np.flatnonzero(masks.any((1, 2)))
    if shown.size:
        tracks = sv.Detections(
            xyxy=sv.mask_to_xyxy(masks[shown]).astype(float),
            mask=masks[shown],
            tracker_id=np.asarray(ids, dtype=int)[shown] % _COLOURS,
        )
        for annotate in _annotators(style, canvas.shape[:2]):
            canvas = annotate(canvas, tracks)
        texts = [_text(ids[n], names[n], scores[n], style.parts) for n in shown.tolist()]
        if any(texts):
            canvas = _draw_texts(canvas, tracks, texts)
    return np.ascontiguousarray(canvas[..., ::-1])


def colour_of(track: int) -> tuple[int, int, int]:
    """RGB 0..255 of a track id, the same in every frame and every run."""
    return _PALETTE.by_idx(track % _COLOURS).as_rgb()


def _make_palette() -> sv.ColorPalette:
    """Hues a golden section apart: neighbouring ids differ most."""
    index = np.arange(_COLOURS)
    hsv = np.stack(
        [
            index * _GOLDEN_RATIO % 1 * 180,
            np.where(index % 2, 190, 255),
            np.where(index % 3, 255, 200),
        ],
        axis=-1,
    )
    rgb = cv2.cvtColor(hsv[None].astype(np.uint8), cv2.COLOR_HSV2RGB)[0]
    return sv.ColorPalette([sv.Color(*row) for row in rgb.tolist()])


_PALETTE = _make_palette()
_BY_TRACK: dict[str, Any] = {"color": _PALETTE, "color_lookup": sv.ColorLookup.TRACK}


def _annotators(
    style: OverlayStyle, size: tuple[int, int]
) -> list[Callable[[np.ndarray, sv.Detections], np.ndarray]]:
    thickness = max(1, round(min(size) / 300))
    made = {
        "masks": sv.MaskAnnotator(opacity=style.opacity, **_BY_TRACK),
        "contours": sv.PolygonAnnotator(thickness=thickness, **_BY_TRACK),
        "boxes": sv.BoxAnnotator(thickness=thickness, **_BY_TRACK),
    }
    return [annotator.annotate for part, annotator in made.items() if part in style.parts]


def _text(track: int, name: str, score: float, parts: Sequence[str]) -> str:
    pieces = {"ids": f"#{track}", "labels": name, "scores": f"{score:.2f}"}
    return " ".join(text for part, text in pieces.items() if part in parts)


def _draw_texts(canvas: np.ndarray, tracks: sv.Detections, texts: list[str]) -> np.ndarray:
    """Writes each text above its object, moved so that it stays inside the image."""
    height, width = canvas.shape[:2]
    side = min(height, width)
    scale, thickness = float(np.clip(side / 900, 0.35, 1.2)), max(1, round(side / 600))
    padding = max(2, side // 120)
    sizes = [cv2.getTextSize(t, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)[0] for t in texts]
    room = np.array(sizes) + 2 * padding  # (n, 2) width, height of the boxes
    left = np.clip(tracks.xyxy[:, 0], 0, np.maximum(width - room[:, 0], 0))
    top = np.maximum(tracks.xyxy[:, 1], room[:, 1])
    anchors = sv.Detections(
        xyxy=np.stack([left, top, left + 1, top + 1], axis=1), tracker_id=tracks.tracker_id
    )
    annotator = sv.LabelAnnotator(
        text_scale=scale,
        text_thickness=thickness,
        text_padding=padding,
        text_color=sv.Color.BLACK,
        **_BY_TRACK,
    )
    return annotator.annotate(canvas, anchors, texts)


def _enlarge(frame: np.ndarray, masks: np.ndarray, min_side: int) -> tuple[np.ndarray, np.ndarray]:
    factor = min(-(-min_side // min(frame.shape[:2])), MAX_ENLARGED // max(frame.shape[:2]))
    if factor <= 1:
        return frame, masks
    size = (frame.shape[1] * factor, frame.shape[0] * factor)
    frame = cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC)
    return frame, masks.repeat(factor, axis=1).repeat(factor, axis=2)


def _check_shapes(frame: np.ndarray, masks: np.ndarray, *columns: Sequence) -> None:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise ValueError(f"frame is {frame.shape} {frame.dtype}, expected (H, W, 3) uint8")
    if masks.shape[1:] != frame.shape[:2]:
        raise ValueError(f"masks are {masks.shape}, the frame is {frame.shape}")
    lengths = [len(column) for column in columns]
    if lengths != [len(masks)] * len(columns):
        raise ValueError(f"{len(masks)} masks, but ids, names and scores number {lengths}")
