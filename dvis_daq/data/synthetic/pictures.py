"""Frames and masks of a synthetic video as image files."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

_JPEG_QUALITY = 93
# What a viewer shows object 1, 2, 3, ... in; the rest of the palette is grey.
_COLORS = ((0, 0, 0), (236, 95, 103), (249, 145, 87), (250, 200, 99), (153, 199, 148),
           (98, 179, 178), (102, 153, 204), (197, 148, 197), (171, 121, 103))  # fmt: skip


def write_frames(folder: Path, frames: np.ndarray) -> list[str]:
    """Writes (T, H, W, 3) uint8 RGB frames as JPEG; returns their names."""
    folder.mkdir(parents=True)
    names = [f"{t:05d}.jpg" for t in range(len(frames))]
    for name, frame in zip(names, frames, strict=True):
        _, coded = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        (folder / name).write_bytes(coded.tobytes())
    return names


def write_labels(folder: Path, labels: np.ndarray, *, palette: bool = False) -> list[str]:
    """Writes (T, H, W) uint8 labels as grey or palette PNGs; returns their names."""
    folder.mkdir(parents=True)
    names = [f"{t:05d}.png" for t in range(len(labels))]
    colors = [value for color in _COLORS for value in color]
    colors += [value for grey in range(len(_COLORS), 256) for value in (grey,) * 3]
    for name, frame in zip(names, labels, strict=True):
        image = Image.fromarray(frame)
        if palette:
            image.putpalette(colors)
        coded = io.BytesIO()
        image.save(coded, "PNG")
        (folder / name).write_bytes(coded.getvalue())
    return names


def write_ids(folder: Path, ids: np.ndarray) -> list[str]:
    """Writes (T, H, W) int32 segment ids as RGB PNGs, R + 256 G + 65536 B; returns their names."""
    folder.mkdir(parents=True)
    names = [f"{t:05d}.png" for t in range(len(ids))]
    for name, frame in zip(names, ids, strict=True):
        rgb = np.stack([frame % 256, frame // 256 % 256, frame // 65536], axis=-1).astype(np.uint8)
        _, coded = cv2.imencode(".png", rgb[..., ::-1])
        (folder / name).write_bytes(coded.tobytes())
    return names
