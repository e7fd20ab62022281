"""Configuration to loaders: the one place of the data package that reads cfg."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader, build_detection_train_loader
from detectron2.utils import comm
from torch.utils.data import DataLoader

from dvis_daq.data import datasets
from dvis_daq.data.annotations import Record
from dvis_daq.data.mapper import ClipMapper, VideoMapper
from dvis_daq.data.sampling import ClipSampling
from dvis_daq.data.stream import ClipDataset, ClipSampler, MixedLoader, RecordStore
from dvis_daq.data.transforms import (
    ClipTransform,
    ColorJitter,
    Compose,
    HorizontalFlip,
    RandomCrop,
    ResizeShortestEdge,
    Sometimes,
)

logger = logging.getLogger(__name__)

CROP_PROBABILITY = 0.5
FLIP_PROBABILITY = 0.5
CROP_MAX_SIZE = 1333  # longer side before a crop, pixels

# What separates the random streams of one seed.
ORDER, CLIPS, MIX = range(3)


def register_datasets(cfg: CfgNode) -> None:
    """Registers the table of data sets and those of `DATASETS.CUSTOM`."""
    datasets.register_all()
    datasets.register_custom(cfg.DATASETS.CUSTOM)


def build_train_loader(cfg: CfgNode, start: int = 0) -> Iterable[list[dict[str, Any]]]:
    """Endless batches of training clips, this process's share of `SOLVER.IMS_PER_BATCH`.

    Several data sets are mixed: each batch comes from one of `DATASETS.TRAIN`, drawn with the
    weights `DATASETS.RATIO`. Clips depend on `SEED` and their position in the stream alone, so
    a resumed run goes on where it was (exactly so unless batches are grouped by aspect ratio).

    Args:
        start: batches that the run has consumed before.

    Raises:
        ValueError: a data set is unknown, broken, empty, or has classes that do not fit.
    """
    register_datasets(cfg)
    names = list(cfg.DATASETS.TRAIN)
    if not names:
        raise ValueError("DATASETS.TRAIN is empty; name at least one data set")
    _check_batch(cfg)
    seed = cfg.SEED if cfg.SEED >= 0 else comm.shared_random_seed()
    mapper = ClipMapper(
        sampling=clip_sampling(cfg),
        transform=train_transform(cfg),
        skip_empty_first=cfg.INPUT.CLIP.SKIP_EMPTY_FIRST,
    )
    sources = []
    for i, name in enumerate(names):
        records = _training_records(cfg, name)
        dataset = ClipDataset(RecordStore(records), mapper, (seed, CLIPS, i), name)
        grouped = cfg.DATALOADER.ASPECT_RATIO_GROUPING and _both_aspects(records)
        sources.append(partial(_source, cfg, dataset, (seed, ORDER, i), grouped))
    _check_classes(names, cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES)
    if len(sources) == 1:
        return sources[0](start)
    weights = list(cfg.DATASETS.RATIO) or [1.0] * len(names)
    return MixedLoader(sources, weights, (seed, MIX), start)


def build_test_loader(cfg: CfgNode, name: str, *, labelled: bool = False) -> DataLoader:
    """One video a batch, this process's share of data set `name`; frames are decoded on access.

    Args:
        labelled: a video comes with its ground truth, see `VideoMapper`.
    """
    register_datasets(cfg)
    records = datasets.load(name)
    give_objects = datasets.metadata(name).task == "vos"
    mapper = VideoMapper(test_transform(cfg), labelled=labelled, give_objects=give_objects)
    return build_detection_test_loader(records, mapper=mapper)


def clip_sampling(cfg: CfgNode) -> ClipSampling:
    """`INPUT.CLIP`."""
    clip = cfg.INPUT.CLIP
    return ClipSampling(
        frames=clip.FRAMES,
        range=clip.RANGE,
        stride=clip.STRIDE,
        reverse=clip.REVERSE,
        shuffle=clip.SHUFFLE,
    )


def train_transform(cfg: CfgNode) -> Compose:
    """Crop (half of the clips), resize, flip (half of them), colour: `INPUT`."""
    options = cfg.INPUT
    steps: list[ClipTransform] = []
    if options.CROP.ENABLED:
        crop = Compose(
            [
                ResizeShortestEdge(options.CROP.RESIZE, CROP_MAX_SIZE),
                RandomCrop(options.CROP.TYPE, options.CROP.SIZE),
            ]
        )
        steps.append(Sometimes(crop, CROP_PROBABILITY))
    sampling = _choice(cfg, "MIN_SIZE_TRAIN_SAMPLING", ("choice", "range"))
    steps.append(
        ResizeShortestEdge(options.MIN_SIZE_TRAIN, options.MAX_SIZE_TRAIN, span=sampling == "range")
    )
    if _choice(cfg, "RANDOM_FLIP", ("horizontal", "none")) == "horizontal":
        steps.append(Sometimes(HorizontalFlip(), FLIP_PROBABILITY))
    color = options.COLOR
    steps.append(ColorJitter(color.BRIGHTNESS, color.CONTRAST, color.SATURATION))
    return Compose(steps)


def test_transform(cfg: CfgNode) -> ResizeShortestEdge:
    """`INPUT.MIN_SIZE_TEST` and `INPUT.MAX_SIZE_TEST`, pixels."""
    return ResizeShortestEdge([cfg.INPUT.MIN_SIZE_TEST], cfg.INPUT.MAX_SIZE_TEST)


def _source(
    cfg: CfgNode, dataset: ClipDataset, seed: tuple[int, ...], grouped: bool, start: int
) -> Iterable[list[dict[str, Any]]]:
    """Endless batches of one data set, without the first `start`."""
    batch, world = cfg.SOLVER.IMS_PER_BATCH, comm.get_world_size()
    sampler = ClipSampler(
        len(dataset), seed=seed, rank=comm.get_rank(), world=world, start=start * batch
    )
    return build_detection_train_loader(
        dataset,
        mapper=None,
        sampler=sampler,
        total_batch_size=batch,
        aspect_ratio_grouping=grouped and batch > world,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        pin_memory=torch.cuda.is_available(),
    )


def _training_records(cfg: CfgNode, name: str) -> list[Record]:
    records = datasets.load(name)
    if cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS:
        kept = [r for r in records if not r["targets"].is_empty(range(r["length"]))]
        logger.info("%s: %d videos, %d of them annotated", name, len(records), len(kept))
        records = kept
    if not records:
        raise ValueError(f"data set '{name}' has no annotated video; is it a test split?")
    return records


def _both_aspects(records: list[Record]) -> bool:
    """Whether there are wide and tall videos, so that grouping has something to do."""
    return len({record["width"] > record["height"] for record in records}) > 1


def _check_batch(cfg: CfgNode) -> None:
    batch, world = cfg.SOLVER.IMS_PER_BATCH, comm.get_world_size()
    if batch < 1 or batch % world:
        raise ValueError(f"SOLVER.IMS_PER_BATCH {batch} is not a multiple of {world} processes")
    if cfg.INPUT.FORMAT != "RGB":
        raise ValueError(f"INPUT.FORMAT is {cfg.INPUT.FORMAT}; images are always given as RGB")


def _check_classes(names: list[str], num_classes: int) -> None:
    """Refuses data sets with other classes than the last one, or more than the model has."""
    target = datasets.metadata(names[-1]).classes
    if len(target) > num_classes:
        raise ValueError(
            f"data set '{names[-1]}' has {len(target)} classes, the model "
            f"{num_classes}; set MODEL.SEM_SEG_HEAD.NUM_CLASSES {len(target)}"
        )
    for name in names[:-1]:
        classes = datasets.metadata(name).classes
        if classes != target:
            odd = sorted(set(classes) ^ set(target))[:5]
            raise ValueError(
                f"data sets '{name}' and '{names[-1]}' are trained together but have other "
                f"classes ({', '.join(odd) or 'another order'}); give both jsons the same "
                "categories"
            )


def _choice(cfg: CfgNode, key: str, known: tuple[str, ...]) -> str:
    value = cfg.INPUT[key]
    if value not in known:
        raise ValueError(f"INPUT.{key} is '{value}'; choose one of {', '.join(known)}")
    return value
