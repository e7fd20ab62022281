"""The training mappers of the public code bases, written out plainly, to compare with.

They copy the whole record, decode with Pillow, put the pixels and each mask through every step of
the augmentation, one array after the other (Pillow resizes, OpenCV turns), and fill in an empty
mask for every object that is absent.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps
from pycocotools import mask as rle

from dvis_daq.data.annotations import Record
from dvis_daq.data.pseudo import smooth_turns
from dvis_daq.data.sampling import ClipSampling, choose_frames
from dvis_daq.data.transforms import ClipTransform, Size

Clip = dict[str, torch.Tensor]


def video_record(record: Record) -> dict[str, Any]:
    """The record of a video in the public loaders: a list of frames of lists of dicts."""
    tracks = record["targets"]
    frames: list[list[dict[str, Any]]] = []
    for t in range(record["length"]):
        frames.append([])
        for row in np.flatnonzero(tracks.visible[:, t]):
            code = rle.encode(np.asfortranarray(tracks.decode(row, t)))
            frames[t].append(
                {"id": int(tracks.ids[row]), "category_id": int(tracks.labels[row]), "iscrowd": 0,
                 "bbox": rle.toBbox(code).tolist(), "bbox_mode": 1, "segmentation": code}
            )  # fmt: skip
    plain = {key: value for key, value in record.items() if key != "targets"}
    return {**plain, "annotations": frames}


def still_record(record: Record, polygons: list[list[list[float]]]) -> dict[str, Any]:
    """The record of an image: a list of dicts with polygons, one list of them per object."""
    annotations = [
        {"segmentation": drawn, "iscrowd": 0, "bbox": [0, 0, 1, 1]} for drawn in polygons
    ]
    plain = {key: value for key, value in record.items() if key != "targets"}
    return {**plain, "annotations": annotations}


@dataclass(frozen=True)
class LiteralVideos:
    """The same clip as `ClipMapper` makes of a video, the usual way."""

    sampling: ClipSampling
    transform: ClipTransform

    def __call__(self, record: dict[str, Any], rng: np.random.Generator) -> Clip:
        record = copy.deepcopy(record)
        frames = choose_frames(record["length"], self.sampling, rng)
        plan = self.transform.draw(LiteralPlan((record["height"], record["width"])), rng)
        annotations = record.pop("annotations")
        ids = sorted({a["id"] for t in frames for a in annotations[t]})
        images, clips = [], []
        for t in frames:
            image = plan(read(record["file_names"][t]), Image.Resampling.BILINEAR)
            images.append(torch.as_tensor(np.ascontiguousarray(image.transpose(2, 0, 1))))
            masks = {i: np.zeros(image.shape[:2], dtype=np.uint8) for i in ids}
            for item in annotations[t]:
                mask = rle.decode(item["segmentation"])
                masks[item["id"]] = plan(mask, Image.Resampling.NEAREST)
            clips.append(stacked(list(masks.values()), image.shape[:2]))
        return {"images": torch.stack(images), "masks": torch.stack(clips, dim=1)}


@dataclass(frozen=True)
class LiteralStills:
    """The same clip as `StillMapper` makes of an image: every step again for every frame."""

    frames: int
    transform: ClipTransform
    degrees: float

    def __call__(self, record: dict[str, Any], rng: np.random.Generator) -> Clip:
        record = copy.deepcopy(record)
        size = (record["height"], record["width"])
        plan = self.transform.draw(LiteralPlan(size), rng)
        original = read(record["file_names"][0])
        turns = smooth_turns(self.frames, self.degrees, plan.size, rng)
        images, clips = [], []
        for turn in turns:
            image = plan(original, Image.Resampling.BILINEAR)
            image = cv2.warpAffine(np.ascontiguousarray(image), turn, plan.size[::-1])
            images.append(torch.as_tensor(np.ascontiguousarray(image.transpose(2, 0, 1))))
            masks = []
            for item in record["annotations"]:
                mask = rle.decode(rle.merge(rle.frPyObjects(item["segmentation"], *size)))
                mask = np.ascontiguousarray(plan(mask, Image.Resampling.NEAREST))
                shape = plan.size[::-1]
                masks.append(cv2.warpAffine(mask, turn, shape, flags=cv2.INTER_NEAREST))
            clips.append(stacked(masks, image.shape[:2]))
        return {"images": torch.stack(images), "masks": torch.stack(clips, dim=1)}


def read(file: str) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def stacked(masks: list[np.ndarray], size: Size) -> torch.Tensor:
    stack = [torch.from_numpy(np.ascontiguousarray(mask)) for mask in masks]
    return torch.stack(stack).bool() if stack else torch.zeros(0, *size, dtype=torch.bool)


@dataclass(frozen=True)
class LiteralPlan:
    """Stands in for a `Plan`: the steps one after the other, each on the pixels of the last."""

    size: Size
    steps: tuple[Callable[[np.ndarray, Any], np.ndarray], ...] = ()

    def resized(self, size: Size) -> LiteralPlan:
        def resize(pixels: np.ndarray, filter_: Any) -> np.ndarray:
            return np.asarray(Image.fromarray(pixels).resize(size[::-1], filter_))

        return LiteralPlan(size, (*self.steps, resize))

    def cropped(self, top: int, left: int, size: Size) -> LiteralPlan:
        def crop(pixels: np.ndarray, _: Any) -> np.ndarray:
            return pixels[top : top + size[0], left : left + size[1]]

        return LiteralPlan(size, (*self.steps, crop))

    def flipped(self) -> LiteralPlan:
        return LiteralPlan(self.size, (*self.steps, lambda pixels, _: np.flip(pixels, axis=1)))

    def __call__(self, pixels: np.ndarray, filter_: Any) -> np.ndarray:
        for step in self.steps:
            pixels = step(pixels, filter_)
        return pixels
