"""Configuration to loaders: the one place of the data package that reads cfg."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader, build_detection_train_loader
from detectron2.utils import comm
from torch.utils.data import DataLoader, Sampler

from dvis_daq.data import datasets
from dvis_daq.data.annotations import Record
from dvis_daq.data.classes import class_table
from dvis_daq.data.errors import Skipped
from dvis_daq.data.mapper import ClipMapper, VideoMapper
from dvis_daq.data.pseudo import StillMapper
from dvis_daq.data.sampling import ClipSampling
from dvis_daq.data.stream import (
    ClipDataset,
    ClipSampler,
    GroupedSampler,
    MixedLoader,
    RecordStore,
    SkipCounter,
)
from dvis_daq.data.transforms import (
    ClipTransform,
    ColorJitter,
    Compose,
    HorizontalFlip,
    LargeScaleJitter,
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
    weights `DATASETS.RATIO`; their classes become those of the last one. Clips depend on `SEED`
    and their position in the stream alone, so a resumed run goes on where it was.

    Args:
        start: batches that the run has consumed before.

    Raises:
        ValueError: a data set is unknown, broken, empty, or has classes that do not fit.
    """
    register_datasets(cfg)
    names = list(cfg.DATASETS.TRAIN)
    if not names:
        raise ValueError("DATASETS.TRAIN is empty; name at least one data set")
    check_batch(cfg, comm.get_world_size())
    _check_format(cfg)
    _check_classes(names[-1], cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES)
    seed = cfg.SEED if cfg.SEED >= 0 else comm.shared_random_seed()
    sources = []
    for i, name in enumerate(names):
        records = _training_records(cfg, name, target=names[-1])
        mapper = train_mapper(cfg, datasets.metadata(name).task)
        grouped = cfg.DATALOADER.ASPECT_RATIO_GROUPING and (
            comm.get_world_size() < cfg.SOLVER.IMS_PER_BATCH
        )
        groups = _wide(records) if grouped else []
        broken = cfg.DATALOADER.SKIP_BROKEN
        store = RecordStore(records)
        dataset = ClipDataset(store, mapper, (seed, CLIPS, i), name, broken, groups)
        sources.append(partial(_source, cfg, dataset, (seed, ORDER, i), groups))
    loader: Iterable[list[dict[str, Any]]]
    if len(sources) == 1:
        loader = sources[0](start)
    else:
        weights = list(cfg.DATASETS.RATIO) or [1.0] * len(names)
        loader = MixedLoader(sources, weights, (seed, MIX), start)
    return SkipCounter(loader) if cfg.DATALOADER.SKIP_BROKEN else loader


def train_mapper(cfg: CfgNode, task: str) -> ClipMapper | StillMapper:
    """What makes clips of a data set: `INPUT`, and `INPUT.PSEUDO` for still images."""
    skip_empty_first = cfg.INPUT.CLIP.SKIP_EMPTY_FIRST
    if task != "image":
        return ClipMapper(clip_sampling(cfg), train_transform(cfg), skip_empty_first)
    degrees = cfg.INPUT.PSEUDO.ROTATION
    if cfg.SOLVER.CACHE_SEGMENTER and degrees:
        raise ValueError("SOLVER.CACHE_SEGMENTER: images must not turn; INPUT.PSEUDO.ROTATION 0")
    frames = cfg.INPUT.CLIP.FRAMES
    return StillMapper(frames, still_transform(cfg), degrees, skip_empty_first)


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
    sampling = _choice(cfg, "MIN_SIZE_TRAIN_SAMPLING", ("choice", "range"))
    resize = ResizeShortestEdge(
        options.MIN_SIZE_TRAIN, options.MAX_SIZE_TRAIN, span=sampling == "range"
    )
    return _augmentation(cfg, crop=options.CROP.ENABLED, resize=resize)


def still_transform(cfg: CfgNode) -> Compose:
    """The same with the switches and sizes of `INPUT.PSEUDO`."""
    options = cfg.INPUT.PSEUDO
    resize = ResizeShortestEdge(options.MIN_SIZE_TRAIN, options.MAX_SIZE_TRAIN)
    return _augmentation(cfg, crop=options.CROP.ENABLED, resize=resize)


def _augmentation(cfg: CfgNode, *, crop: bool, resize: ResizeShortestEdge) -> Compose:
    options = cfg.INPUT
    flip: list[ClipTransform] = []
    if _choice(cfg, "RANDOM_FLIP", ("horizontal", "none")) == "horizontal":
        flip = [Sometimes(HorizontalFlip(), FLIP_PROBABILITY)]
    color = ColorJitter(options.COLOR.BRIGHTNESS, options.COLOR.CONTRAST, options.COLOR.SATURATION)
    if options.LSJ.ENABLED:
        lsj = options.LSJ
        return Compose([*flip, color, LargeScaleJitter(lsj.SIZE, lsj.MIN_SCALE, lsj.MAX_SCALE)])
    steps: list[ClipTransform] = [resize, *flip, color]
    if crop:
        first = ResizeShortestEdge(options.CROP.RESIZE, CROP_MAX_SIZE)
        window = RandomCrop(options.CROP.TYPE, options.CROP.SIZE)
        steps.insert(0, Sometimes(Compose([first, window]), CROP_PROBABILITY))
    return Compose(steps)


def test_transform(cfg: CfgNode) -> ResizeShortestEdge:
    """`INPUT.MIN_SIZE_TEST` and `INPUT.MAX_SIZE_TEST`, pixels."""
    return ResizeShortestEdge([cfg.INPUT.MIN_SIZE_TEST], cfg.INPUT.MAX_SIZE_TEST)


def _source(
    cfg: CfgNode, dataset: ClipDataset, seed: tuple[int, ...], groups: list[bool], start: int
) -> Iterable[list[dict[str, Any]]]:
    """Endless batches of one data set, without the first `start`.

    Args:
        groups: of each record, those of a batch are equal; empty for no groups.
    """
    batch, world = cfg.SOLVER.IMS_PER_BATCH, comm.get_world_size()
    share = {"seed": seed, "rank": comm.get_rank(), "world": world}
    sampler: Sampler = ClipSampler(len(dataset), **share, start=start * batch)
    if groups:
        draws = ClipSampler(len(dataset), **share)
        sampler = GroupedSampler(draws, groups, batch=batch // world, skip=start)
    return build_detection_train_loader(
        dataset,
        mapper=None,
        sampler=sampler,
        total_batch_size=batch,
        aspect_ratio_grouping=False,  # the sampler does it, in a way that can be resumed
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        pin_memory=torch.cuda.is_available(),
    )


def _training_records(cfg: CfgNode, name: str, target: str) -> list[Record]:
    skipped = Skipped(name) if cfg.DATALOADER.SKIP_BROKEN else None
    records = datasets.load(name, skipped)
    if skipped is not None:
        logger.warning("%s: %d broken entries left out", name, skipped.count)
    table = _class_table(name, target)
    if table is not None:
        records = [{**r, "targets": r["targets"].mapped(table)} for r in records]
    if cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS:
        kept = [r for r in records if not r["targets"].is_empty(range(r["length"]))]
        logger.info("%s: %d videos, %d of them annotated", name, len(records), len(kept))
        records = kept
    if not records:
        raise ValueError(f"data set '{name}' has no annotated video; is it a test split?")
    return records


def _class_table(name: str, target: str) -> np.ndarray | None:
    """Class in data set `target` of each class of `name`, None where they are the same."""
    classes, wanted = datasets.metadata(name).classes, datasets.metadata(target).classes
    if classes == wanted:
        return None
    try:
        return class_table(classes, wanted, datasets.source(name).class_map)
    except ValueError as error:
        message = f"data sets '{name}' and '{target}' are trained together but have {error}"
        raise ValueError(message) from None


def _wide(records: list[Record]) -> list[bool]:
    """Which videos are wider than tall; empty if all or none are, so that nothing is grouped."""
    wide = [record["width"] > record["height"] for record in records]
    return wide if len(set(wide)) > 1 else []


def check_batch(cfg: CfgNode, processes: int) -> None:
    """Raises ValueError if `processes` cannot share a batch of `SOLVER.IMS_PER_BATCH` clips."""
    batch = cfg.SOLVER.IMS_PER_BATCH
    if batch < 1 or batch % processes:
        raise ValueError(f"SOLVER.IMS_PER_BATCH {batch} is not a multiple of {processes} processes")


def _check_format(cfg: CfgNode) -> None:
    if cfg.INPUT.FORMAT != "RGB":
        raise ValueError(f"INPUT.FORMAT is {cfg.INPUT.FORMAT}; images are always given as RGB")


def _check_classes(target: str, num_classes: int) -> None:
    """Refuses a data set with more classes than the model has."""
    found = len(datasets.metadata(target).classes)
    if found > num_classes:
        raise ValueError(
            f"data set '{target}' has {found} classes, the model {num_classes}; set "
            f"MODEL.SEM_SEG_HEAD.NUM_CLASSES {found}"
        )


def _choice(cfg: CfgNode, key: str, known: tuple[str, ...]) -> str:
    value = cfg.INPUT[key]
    if value not in known:
        raise ValueError(f"INPUT.{key} is '{value}'; choose one of {', '.join(known)}")
    return value
