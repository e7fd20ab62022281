"""The methods, each a short function of cfg that picks its parts (Detectron2 meta-architectures).

This is the only place that knows every part, and the best summary of what the methods share.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY, build_backbone

from dvis_daq.model import TaskHead, VideoModel
from dvis_daq.refiner import (
    SequenceRules,
    TemporalRefiner,
    appearance_padding,
    larger_scores,
    zero_padding,
)
from dvis_daq.segmenter import (
    PixelDecoder,
    QueryDecoder,
    SegmentationHead,
    Segmenter,
    reid_head,
    swin,  # noqa: F401  registers its backbone, as do the next two
    timm_backbone,  # noqa: F401
    vit_adapter,  # noqa: F401
)
from dvis_daq.segmenter.encoder_only import build_encoder_segmenter
from dvis_daq.tasks.vis import instances
from dvis_daq.tasks.vps import panoptic
from dvis_daq.tasks.vss import semantic
from dvis_daq.tracker.daq import DAQTracker
from dvis_daq.tracker.embedding import EmbeddingTracker
from dvis_daq.tracker.referring import ReferringTracker, raw_candidates
from dvis_daq.tracker.state import EndlessLife, Lifecycle, mean_of_both, tracker_1, tracker_1_and_2
from dvis_daq.tracker.static import StaticTracker
from dvis_daq.training.cache import SegmentedFrames
from dvis_daq.training.class_memory import TrackContrast
from dvis_daq.training.losses import LossWeights
from dvis_daq.training.noise import MIXES, QueryNoise
from dvis_daq.training.objectives import (
    ContrastiveObjective,
    DAQObjective,
    FrameObjective,
    ReferringObjective,
    RefinerObjective,
    StaticObjective,
)
from dvis_daq.training.points import PointSampler
from dvis_daq.training.simulation import Stage


@META_ARCH_REGISTRY.register()
def MinVIS(cfg: CfgNode) -> VideoModel:
    """The segmenter learns from single frames; its queries are linked by similarity."""
    return VideoModel(
        segmenter=build_segmenter(cfg),
        tracker=EmbeddingTracker(),
        lifecycle=EndlessLife(),
        objective=FrameObjective(losses=loss_weights(cfg), points=point_sampler(cfg)),
        **inference(cfg),
    )


@META_ARCH_REGISTRY.register()
def CTVIS(cfg: CfgNode) -> VideoModel:
    """As MinVIS, with a re-id head that learns from clips and links the queries."""
    contrastive = cfg.MODEL.CONTRASTIVE
    return VideoModel(
        segmenter=build_segmenter(cfg),
        tracker=EmbeddingTracker(attrgetter("reid")),
        lifecycle=EndlessLife(),
        objective=ContrastiveObjective(
            weight=contrastive.WEIGHT,
            auxiliary_weight=contrastive.AUX_WEIGHT,
            num_negatives=contrastive.NUM_NEGATIVES,
            momentum=contrastive.MOMENTUM,
            losses=loss_weights(cfg),
            points=point_sampler(cfg),
        ),
        **inference(cfg),
    )


@META_ARCH_REGISTRY.register()
def DVIS_DAQ_online(cfg: CfgNode) -> VideoModel:
    """Frozen segmenter; the tracker with dynamic anchors learns with EDS (Sec. 3.2-3.4)."""
    segmenter = build_segmenter(cfg)
    return VideoModel(
        segmenter=segmenter,
        tracker=build_daq_tracker(cfg, segmenter),
        lifecycle=lifecycle(cfg),
        cache=segmented_frames(cfg),
        objective=DAQObjective(
            losses=loss_weights(cfg),
            points=point_sampler(cfg),
            stages=stages(cfg),
            candidate_score=cfg.MODEL.LIFECYCLE.FIRST_SCORE,
        ),
        **inference(cfg),
    )


@META_ARCH_REGISTRY.register()
def DVIS_DAQ_offline(cfg: CfgNode) -> VideoModel:
    """Frozen segmenter and tracker; the temporal refiner learns on whole tracks."""
    segmenter = build_segmenter(cfg)
    tracker = build_daq_tracker(cfg, segmenter)
    return VideoModel(
        segmenter=segmenter,
        tracker=tracker,
        refiner=build_refiner(cfg, segmenter, local_conv=cfg.MODEL.REFINER.LOCAL_CONV),
        sequences=sequences(cfg),
        lifecycle=lifecycle(cfg),
        cache=segmented_frames(cfg),
        objective=RefinerObjective(
            life=training_life(cfg),
            match_refined_from=cfg.SOLVER.MAX_ITER // 2,
            sequences=sequences(cfg),
            losses=loss_weights(cfg),
            points=point_sampler(cfg),
        ),
        **inference(cfg),
    )


@META_ARCH_REGISTRY.register()
def DVIS_online(cfg: CfgNode) -> VideoModel:
    """DVIS++: frozen segmenter; the referring tracker with static anchors learns with noise."""
    segmenter = build_segmenter(cfg)
    return VideoModel(
        segmenter=segmenter,
        tracker=build_referring_tracker(cfg, segmenter),
        lifecycle=EndlessLife(),
        cache=segmented_frames(cfg),
        objective=ReferringObjective(
            match_tracks_from=cfg.SOLVER.MAX_ITER // 2,
            noise=query_noise(cfg),
            contrast_weight=cfg.MODEL.CONTRASTIVE.WEIGHT if cfg.MODEL.TRACKER.CONTRASTIVE else 0.0,
            losses=loss_weights(cfg),
            points=point_sampler(cfg),
        ),
        **inference(cfg),
    )


@META_ARCH_REGISTRY.register()
def DVIS_static_online(cfg: CfgNode) -> VideoModel:
    """Frozen segmenter; tracker 1 with static anchors learns alone (baseline of Tab. 3a)."""
    segmenter = build_segmenter(cfg)
    former = cfg.MODEL.MASK_FORMER
    return VideoModel(
        segmenter=segmenter,
        tracker=StaticTracker(
            hidden_dim=segmenter.hidden_dim,
            mask_dim=segmenter.mask_dim,
            num_classes=segmenter.num_classes,
            layers=cfg.MODEL.TRACKER.LAYERS,
            heads=former.NHEADS,
            feedforward_dim=former.DIM_FEEDFORWARD,
        ),
        lifecycle=EndlessLife(),
        cache=segmented_frames(cfg),
        objective=StaticObjective(
            losses=loss_weights(cfg), points=point_sampler(cfg), stages=stages(cfg)
        ),
        **inference(cfg),
    )


@META_ARCH_REGISTRY.register()
def DVIS_offline(cfg: CfgNode) -> VideoModel:
    """DVIS++: frozen segmenter and referring tracker; the temporal refiner learns."""
    segmenter = build_segmenter(cfg)
    tracker = build_referring_tracker(cfg, segmenter)
    # Every row lives through the whole video, so there is nothing to pad.
    rows = SequenceRules(max_tracks=segmenter.num_queries, chains=False, candidates=raw_candidates)
    return VideoModel(
        segmenter=segmenter,
        tracker=tracker,
        refiner=build_refiner(cfg, segmenter, local_conv=True, hidden_dim=tracker.hidden_dim),
        sequences=rows,
        fuse_scores=larger_scores,
        lifecycle=EndlessLife(),
        cache=segmented_frames(cfg),
        objective=RefinerObjective(
            life=EndlessLife(),
            match_refined_from=cfg.SOLVER.MAX_ITER // 2,
            sequences=rows,
            contrast=track_contrast(cfg),
            losses=loss_weights(cfg),
            points=point_sampler(cfg),
        ),
        **inference(cfg),
    )


def build_segmenter(cfg: CfgNode) -> Segmenter:
    """Backbone, pixel decoder and query decoder of Mask2Former, or a ViT in place of all three."""
    if cfg.MODEL.SEGMENTER == "encoder_only":
        return build_encoder_segmenter(cfg)
    backbone = build_backbone(cfg)
    head, former = cfg.MODEL.SEM_SEG_HEAD, cfg.MODEL.MASK_FORMER
    shapes = backbone.output_shape()
    reid = None
    if former.REID_BRANCH:
        reid = reid_head(
            former.HIDDEN_DIM,
            hidden_dim=former.REID_HIDDEN_DIM,
            num_layers=former.NUM_REID_HEAD_LAYERS,
        )
    return Segmenter(
        backbone=backbone,
        sem_seg_head=SegmentationHead(
            pixel_decoder=PixelDecoder(
                {name: shapes[name] for name in head.IN_FEATURES},
                transformer_features=head.DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES,
                hidden_dim=head.CONVS_DIM,
                mask_dim=head.MASK_DIM,
                heads=head.DEFORMABLE_TRANSFORMER_ENCODER_N_HEADS,
                points=head.DEFORMABLE_TRANSFORMER_ENCODER_N_POINTS,
                ffn_dim=head.DEFORMABLE_TRANSFORMER_ENCODER_FEEDFORWARD,
                num_layers=head.TRANSFORMER_ENC_LAYERS,
            ),
            predictor=QueryDecoder(
                head.CONVS_DIM,
                hidden_dim=former.HIDDEN_DIM,
                mask_dim=head.MASK_DIM,
                num_queries=former.NUM_OBJECT_QUERIES,
                num_classes=head.NUM_CLASSES,
                num_levels=len(head.DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES),
                num_layers=former.DEC_LAYERS - 1,
                heads=former.NHEADS,
                ffn_dim=former.DIM_FEEDFORWARD,
                reid=reid,
            ),
        ),
        pixel_mean=cfg.MODEL.PIXEL_MEAN,
        pixel_std=cfg.MODEL.PIXEL_STD,
        size_divisibility=former.SIZE_DIVISIBILITY,
    )


def build_daq_tracker(cfg: CfgNode, segmenter: Segmenter) -> DAQTracker:
    """Tracker 1 and tracker 2, as wide as the segmenter's queries."""
    tracker, former = cfg.MODEL.TRACKER, cfg.MODEL.MASK_FORMER
    return DAQTracker(
        hidden_dim=segmenter.hidden_dim,
        mask_dim=segmenter.mask_dim,
        num_classes=segmenter.num_classes,
        layers=tracker.LAYERS,
        heads=former.NHEADS,
        feedforward_dim=former.DIM_FEEDFORWARD,
        background_queries=tracker.BACKGROUND_QUERIES,
        window=tracker.APPEARANCE_WINDOW,
    )


def build_referring_tracker(cfg: CfgNode, segmenter: Segmenter) -> ReferringTracker:
    """The tracker of DVIS++, as wide as object query and re-id embedding together."""
    former = cfg.MODEL.MASK_FORMER
    return ReferringTracker(
        hidden_dim=segmenter.hidden_dim * (2 if former.REID_BRANCH else 1),
        mask_dim=segmenter.mask_dim,
        num_classes=segmenter.num_classes,
        layers=cfg.MODEL.TRACKER.LAYERS,
        heads=former.NHEADS,
        feedforward_dim=former.DIM_FEEDFORWARD,
    )


def query_noise(cfg: CfgNode) -> QueryNoise | None:
    noise = cfg.MODEL.TRACKER.NOISE
    return None if noise.MODE == "none" else QueryNoise(MIXES[noise.MODE], noise.RATIO)


def track_contrast(cfg: CfgNode) -> TrackContrast | None:
    return TrackContrast(cfg.MODEL.CONTRASTIVE.WEIGHT) if cfg.MODEL.REFINER.CONTRASTIVE else None


def build_refiner(
    cfg: CfgNode, segmenter: Segmenter, *, local_conv: bool, hidden_dim: int | None = None
) -> TemporalRefiner:
    """The temporal refiner, as wide as its tracks; None: as the segmenter's queries."""
    refiner, former = cfg.MODEL.REFINER, cfg.MODEL.MASK_FORMER
    return TemporalRefiner(
        hidden_dim=hidden_dim or segmenter.hidden_dim,
        mask_dim=segmenter.mask_dim,
        num_classes=segmenter.num_classes,
        layers=refiner.LAYERS,
        heads=former.NHEADS,
        feedforward_dim=former.DIM_FEEDFORWARD,
        local_conv=local_conv,
        learned_padding=refiner.TEMPORAL_PADDING == "learned",
        hide_padding=refiner.TEMPORAL_PADDING == "none",
    )


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
        ValueError: an entry holds another key.
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
        found.append(Stage(**settings))
    return found


def segmented_frames(cfg: CfgNode) -> SegmentedFrames | None:
    """A store for the outputs of the frozen segmenter, where the configuration wants one."""
    return SegmentedFrames() if cfg.SOLVER.CACHE_SEGMENTER else None


def inference(cfg: CfgNode) -> dict[str, Any]:
    """What all methods do alike at inference: window, storage of masks, task head."""
    dtype = None if cfg.TEST.MASK_DTYPE == "none" else getattr(torch, cfg.TEST.MASK_DTYPE)
    return {
        "task": task_head(cfg),
        "window": cfg.TEST.WINDOW,
        "mask_dtype": dtype,
        "keep_features": cfg.TEST.KEEP_FEATURES,
        "show_unseen": cfg.TEST.SHOW_UNSEEN,
        "trace": cfg.TEST.TRACE,
    }


def task_head(cfg: CfgNode) -> TaskHead:
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
    return partial(instances, max_instances=cfg.TEST.MAX_INSTANCES)
