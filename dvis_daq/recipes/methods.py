"""The methods, each a short function of cfg that picks its parts (Detectron2 meta-architectures).

The best summary of what the methods share; the parts are built in `parts`, the rules of
training and inference are read in `rules`.
"""

from __future__ import annotations

from operator import attrgetter

from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY

from dvis_daq.model import VideoModel
from dvis_daq.recipes.parts import (
    build_daq_tracker,
    build_frame_query_segmenter,
    build_genvis_daq_tracker,
    build_genvis_tracker,
    build_referring_tracker,
    build_refiner,
    build_segmenter,
    build_static_tracker,
)
from dvis_daq.recipes.rules import (
    daq_rules,
    inference,
    lifecycle,
    loss_weights,
    point_sampler,
    query_noise,
    segmented_frames,
    sequences,
    stages,
    track_contrast,
    training_life,
)
from dvis_daq.refiner import SequenceRules, larger_scores
from dvis_daq.tasks.vis import mask_confidence
from dvis_daq.tracker.embedding import EmbeddingTracker
from dvis_daq.tracker.pooling import BestScores
from dvis_daq.tracker.referring import raw_candidates
from dvis_daq.tracker.state import EndlessLife
from dvis_daq.training.objectives import (
    ContrastiveObjective,
    DAQObjective,
    FrameObjective,
    GenVISDAQObjective,
    GenVISObjective,
    ReferringObjective,
    RefinerObjective,
    StaticObjective,
)


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
        objective=DAQObjective(**daq_rules(cfg)),
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
    return VideoModel(
        segmenter=segmenter,
        tracker=build_static_tracker(cfg, segmenter),
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


@META_ARCH_REGISTRY.register()
def GenVIS(cfg: CfgNode) -> VideoModel:
    """Frozen segmenter; clip queries, handed from clip to clip, learn (baseline of Tab. A1)."""
    genvis = cfg.MODEL.GENVIS
    segmenter = build_frame_query_segmenter(cfg)
    return VideoModel(
        segmenter=segmenter,
        tracker=build_genvis_tracker(cfg, segmenter),
        lifecycle=EndlessLife(),
        cache=segmented_frames(cfg),
        clip=genvis.CLIP_FRAMES,
        scores=BestScores.start,
        objective=GenVISObjective(
            clip_frames=genvis.CLIP_FRAMES,
            similarity_weight=genvis.SIMILARITY_WEIGHT,
            losses=loss_weights(cfg),
            points=point_sampler(cfg),
        ),
        **inference(cfg, confidence=mask_confidence, clip=genvis.CLIP_FRAMES),
    )


@META_ARCH_REGISTRY.register()
def GenVIS_DAQ(cfg: CfgNode) -> VideoModel:
    """GenVIS whose rows are tracks and dynamic anchors; it learns with EDS (Tab. A1)."""
    segmenter = build_frame_query_segmenter(cfg)
    return VideoModel(
        segmenter=segmenter,
        tracker=build_genvis_daq_tracker(cfg, segmenter),
        lifecycle=lifecycle(cfg),
        cache=segmented_frames(cfg),
        scores=BestScores.start,
        objective=GenVISDAQObjective(
            similarity_weight=cfg.MODEL.GENVIS.SIMILARITY_WEIGHT, **daq_rules(cfg)
        ),
        **inference(cfg, confidence=mask_confidence),
    )
