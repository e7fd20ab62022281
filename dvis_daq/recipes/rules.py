"""Reads the rules of training and inference from cfg: thresholds, schedules, losses, task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from detectron2.config import CfgNode

from dvis_daq.model import TaskHead
from dvis_daq.refiner import SequenceRules, appearance_padding, zero_padding
from dvis_daq.structures import FrameSizes
from dvis_daq.tasks.vis import Confidence, InstancesInPieces, instances
from dvis_daq.tasks.vos import first_frame_overlap, mask_overlap, objects
from dvis_daq.tasks.vps import panoptic
from dvis_daq.tasks.vss import semantic
from dvis_daq.tracker.state import Lifecycle, mean_of_both, tracker_1, tracker_1_and_2
from dvis_daq.training.cache import SegmentedFrames
from dvis_daq.training.class_memory import TrackContrast
from dvis_daq.training.losses import LossWeights
from dvis_daq.training.noise import MIXES, QueryNoise
from dvis_daq.training.points import PointSampler
from dvis_daq.training.simulation import Stage


def query_noise(cfg: CfgNode) -> QueryNoise | None:
    noise = cfg.MODEL.TRACKER.NOISE
    return None if noise.MODE == "none" else QueryNoise(MIXES[noise.MODE], noise.RATIO)


def track_contrast(cfg: CfgNode) -> TrackContrast | None:
    return TrackContrast(cfg.MODEL.CONTRASTIVE.WEIGHT) if cfg.MODEL.REFINER.CONTRASTIVE else None


def sequences(cfg: CfgNode) -> SequenceRules:
    """How tracks become the rows of the refiner."""
    refiner = cfg.MODEL.REFINER
    by_appearance = refiner.TEMPORAL_PADDING == "appearance"
    return SequenceRules(
        max_tracks=refiner.MAX_TRACKS,
        padding=appearance_padding if by_appearance else zero_padding,
        chains=refiner.SPATIAL_PADDING == "naive",
    )


def lifecycle(cfg: CfgNode) -> Lifecycle:
    """Thresholds and patience; whether tracker 2 has a say."""
    life = cfg.MODEL.LIFECYCLE
    return Lifecycle(
        accept=tracker_1_and_2 if cfg.MODEL.TRACKER.ANCHORS.DECIDES else tracker_1,
        score=life.SCORE,
        first_score=life.FIRST_SCORE,
        foreground_score=life.FOREGROUND_SCORE,
        patience=life.PATIENCE,
    )


def training_life(cfg: CfgNode) -> Lifecycle:
    """The life cycle under which a refiner is trained."""
    life = lifecycle(cfg)
    if cfg.MODEL.REFINER.TRAIN_FUSION == "mean" and cfg.MODEL.TRACKER.ANCHORS.DECIDES:
        return replace(life, accept=mean_of_both)
    return life


def loss_weights(cfg: CfgNode) -> LossWeights:
    former = cfg.MODEL.MASK_FORMER
    return LossWeights(
        class_=former.CLASS_WEIGHT,
        mask=former.MASK_WEIGHT,
        dice=former.DICE_WEIGHT,
        no_object=former.NO_OBJECT_WEIGHT,
    )


def point_sampler(cfg: CfgNode) -> PointSampler:
    former = cfg.MODEL.MASK_FORMER
    return PointSampler(
        num_points=former.TRAIN_NUM_POINTS,
        oversample_ratio=former.OVERSAMPLE_RATIO,
        importance_ratio=former.IMPORTANCE_SAMPLE_RATIO,
    )


def stages(cfg: CfgNode) -> list[Stage]:
    """The schedule of EDS; an entry may hold UNTIL, FRAMES, DROP, SCORE and HIDE.

    Raises:
        ValueError: an entry holds another key, or a value of a wrong type.
    """
    found = []
    for entry in cfg.MODEL.EDS.STAGES:
        settings = {key.lower(): value for key, value in dict(entry).items()}
        unknown = settings.keys() - Stage.__dataclass_fields__.keys()
        if unknown:
            raise ValueError(
                f"MODEL.EDS.STAGES has an entry with {', '.join(sorted(unknown)).upper()}; "
                f"known are {', '.join(Stage.__dataclass_fields__).upper()}"
            )
        try:
            found.append(Stage(**settings))
        except TypeError as error:
            raise ValueError(f"MODEL.EDS.STAGES has an entry {settings}: {error}") from None
    return found


def daq_rules(cfg: CfgNode) -> dict[str, Any]:
    """How a pair of trackers is taught, see `DAQObjective`."""
    return {
        "losses": loss_weights(cfg),
        "points": point_sampler(cfg),
        "stages": stages(cfg),
        "candidate_score": cfg.MODEL.LIFECYCLE.FIRST_SCORE,
    }


def segmented_frames(cfg: CfgNode) -> SegmentedFrames | None:
    """A store for the outputs of the frozen segmenter, where the configuration wants one."""
    if not cfg.SOLVER.CACHE_SEGMENTER:
        return None
    return SegmentedFrames(folder=cfg.SOLVER.CACHE_FOLDER or None)


def inference(
    cfg: CfgNode, *, confidence: Confidence | None = None, clip: int = 1
) -> dict[str, Any]:
    """What all methods do alike at inference: window, storage of masks, task head.

    Args:
        confidence: of masks, what the scores of instances are multiplied by.
        clip: frames that the tracker sees at once; a window is a multiple of it.
    """
    dtype = None if cfg.TEST.MASK_DTYPE == "none" else getattr(torch, cfg.TEST.MASK_DTYPE)
    return {
        "task": task_head(cfg, confidence),
        "window": max(clip, _window(cfg) // clip * clip),
        "precision": getattr(torch, cfg.TEST.PRECISION),
        "in_pieces": _in_pieces(cfg) if confidence is None else None,
        "mask_budget": cfg.TEST.MASK_BUDGET * 2**20,
        "mask_dtype": dtype,
        "keep_features": cfg.TEST.KEEP_FEATURES,
        "show_unseen": cfg.TEST.SHOW_UNSEEN,
        "prompted": cfg.MODEL.TASK == "vos",
        "trace": cfg.TEST.TRACE,
    }


def _window(cfg: CfgNode) -> int:
    return cfg.TEST.WINDOW or (1 if cfg.MODEL.DEVICE == "cpu" else 5)


def _in_pieces(cfg: CfgNode) -> Callable[[FrameSizes], InstancesInPieces] | None:
    """Only the results of VIS can be made from pieces of a video."""
    if cfg.MODEL.TASK != "vis":
        return None
    return partial(InstancesInPieces, max_instances=cfg.TEST.MAX_INSTANCES)


def task_head(cfg: CfgNode, confidence: Confidence | None) -> TaskHead:
    """The function of `MODEL.TASK`."""
    if cfg.MODEL.TASK == "vps":
        test = cfg.MODEL.MASK_FORMER.TEST
        return partial(
            panoptic,
            num_things=cfg.MODEL.SEM_SEG_HEAD.NUM_THINGS,
            score_threshold=test.OBJECT_MASK_THRESHOLD,
            overlap_threshold=test.OVERLAP_THRESHOLD,
        )
    if cfg.MODEL.TASK == "vss":
        return semantic
    if cfg.MODEL.TASK == "vos":
        released = cfg.TEST.FIRST_FRAME_MATCH == "released"
        overlap = first_frame_overlap if released else mask_overlap
        return partial(objects, max_tracks=cfg.TEST.MAX_INSTANCES, overlap=overlap)
    return partial(instances, max_instances=cfg.TEST.MAX_INSTANCES, confidence=confidence)
