"""Builds the parts of a model from cfg: segmenter, trackers, refiner."""

from __future__ import annotations

from detectron2.config import CfgNode
from detectron2.modeling import build_backbone

from dvis_daq.config import ConfigError
from dvis_daq.layers import shares_of_keys, shares_of_queries
from dvis_daq.refiner import TemporalRefiner
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
from dvis_daq.tracker.anchors import (
    Concatenated,
    DisappearanceAnchors,
    EmergenceAnchors,
    LearnedStart,
    added,
    as_position,
    candidate_appearance,
    candidate_position,
    candidate_query,
    nearest_start,
    track_appearance,
    track_query,
)
from dvis_daq.tracker.clip import ClipModule
from dvis_daq.tracker.daq import DAQTracker
from dvis_daq.tracker.genvis import GenVISTracker, PrototypeMemory
from dvis_daq.tracker.genvis_daq import GenVISDAQTracker
from dvis_daq.tracker.referring import ReferringTracker
from dvis_daq.tracker.static import StaticTracker

EMERGENCE_FEATURES = {
    "SegQ": candidate_query,
    "SegP": candidate_position,
    "AppF": candidate_appearance,
}
EMERGENCE_USAGES = {"add": added, "pos": as_position}


def build_segmenter(cfg: CfgNode, *, deep: int = 1, pixel_features: bool = False) -> Segmenter:
    """Backbone, pixel decoder and query decoder of Mask2Former, or a ViT in place of all three.

    For `deep` and `pixel_features` see `QueryDecoder`; a ViT has neither.
    """
    if cfg.MODEL.SEGMENTER == "encoder_only":
        return build_encoder_segmenter(cfg)
    backbone = build_backbone(cfg)
    head, former = cfg.MODEL.SEM_SEG_HEAD, cfg.MODEL.MASK_FORMER
    shapes = backbone.output_shape()
    missing = sorted(set(head.IN_FEATURES) - set(shapes))
    if missing:
        raise ConfigError(
            f"MODEL.SEM_SEG_HEAD.IN_FEATURES names {', '.join(missing)}; the backbone "
            f"{cfg.MODEL.BACKBONE.NAME} has {', '.join(shapes)}"
        )
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
                deep=deep,
                pixel_features=pixel_features,
            ),
        ),
        pixel_mean=cfg.MODEL.PIXEL_MEAN,
        pixel_std=cfg.MODEL.PIXEL_STD,
        size_divisibility=former.SIZE_DIVISIBILITY,
    )


def build_daq_tracker(cfg: CfgNode, segmenter: Segmenter) -> DAQTracker:
    """Tracker 1 and tracker 2, as wide as the segmenter's queries."""
    tracker, former = cfg.MODEL.TRACKER, cfg.MODEL.MASK_FORMER
    anchors, dim = tracker.ANCHORS, segmenter.hidden_dim
    return DAQTracker(
        hidden_dim=segmenter.hidden_dim,
        mask_dim=segmenter.mask_dim,
        num_classes=segmenter.num_classes,
        layers=tracker.LAYERS,
        heads=former.NHEADS,
        feedforward_dim=former.DIM_FEEDFORWARD,
        emergence_queries=anchors.NUM_EMBEDDINGS,
        background_queries=tracker.BACKGROUND_QUERIES,
        window=tracker.APPEARANCE_WINDOW,
        shares=shares_of_queries if anchors.SOFTMAX == "q" else shares_of_keys,
        emergence=lambda: emergence_anchors(anchors, dim),
        disappearance=(lambda: disappearance_anchors(anchors, dim))
        if anchors.DISAPPEARANCE
        else None,
    )


def emergence_anchors(anchors: CfgNode, dim: int) -> EmergenceAnchors:
    """What makes DAQ_Emg of width `dim`, from `MODEL.TRACKER.ANCHORS`."""
    learns = anchors.EMERGENCE_USAGE == "cat"
    return EmergenceAnchors(
        feature=EMERGENCE_FEATURES[anchors.EMERGENCE_FEATURE],
        usage=Concatenated(dim) if learns else EMERGENCE_USAGES[anchors.EMERGENCE_USAGE],
        top_k=anchors.TOP_K or None,
    )


def disappearance_anchors(anchors: CfgNode, dim: int) -> DisappearanceAnchors:
    """What makes DAQ_Dis, likewise."""
    return DisappearanceAnchors(
        start=LearnedStart(dim) if anchors.DISAPPEARANCE_QUERY == "learned" else nearest_start,
        position=track_query if anchors.DISAPPEARANCE_POSITION == "CTQF" else track_appearance,
    )


def build_frame_query_segmenter(cfg: CfgNode) -> Segmenter:
    """A segmenter that hands on what GenVIS reads: several layers, and its finest map.

    Raises:
        ValueError: it cannot.
    """
    layers, former = cfg.MODEL.GENVIS.FRAME_LAYERS, cfg.MODEL.MASK_FORMER
    if cfg.MODEL.SEGMENTER != "mask2former":
        raise ValueError("GenVIS needs MODEL.SEGMENTER mask2former: it reads its pixel decoder")
    if not 0 < layers <= former.DEC_LAYERS:
        raise ValueError(
            f"MODEL.GENVIS.FRAME_LAYERS is {layers}, but the segmenter predicts "
            f"{former.DEC_LAYERS} times (MODEL.MASK_FORMER.DEC_LAYERS)"
        )
    return build_segmenter(cfg, deep=layers, pixel_features=True)


def build_clip_module(cfg: CfgNode, segmenter: Segmenter) -> ClipModule:
    """The clip module of GenVIS, as wide as the segmenter's queries."""
    genvis, former = cfg.MODEL.GENVIS, cfg.MODEL.MASK_FORMER
    return ClipModule(
        hidden_dim=segmenter.hidden_dim,
        pixel_dim=cfg.MODEL.SEM_SEG_HEAD.CONVS_DIM,
        mask_dim=segmenter.mask_dim,
        num_classes=segmenter.num_classes,
        encoder_layers=genvis.ENCODER_LAYERS,
        decoder_layers=genvis.DECODER_LAYERS,
        heads=former.NHEADS,
        feedforward_dim=former.DIM_FEEDFORWARD,
    )


def build_genvis_tracker(cfg: CfgNode, segmenter: Segmenter) -> GenVISTracker:
    """A fixed number of rows, with or without prototype memory."""
    genvis = cfg.MODEL.GENVIS
    memory = None
    if genvis.MEMORY:
        memory = PrototypeMemory(segmenter.hidden_dim, genvis.MEMORY_CLIPS or None)
    return GenVISTracker(
        build_clip_module(cfg, segmenter),
        num_candidates=segmenter.num_queries,
        num_rows=genvis.NUM_QUERIES,
        memory=memory,
    )


def build_genvis_daq_tracker(cfg: CfgNode, segmenter: Segmenter) -> GenVISDAQTracker:
    """Tracks and dynamic anchors.

    Raises:
        ValueError: a choice of anchors that this tracker does not have.
    """
    tracker, former = cfg.MODEL.TRACKER, cfg.MODEL.MASK_FORMER
    anchors, dim = tracker.ANCHORS, segmenter.hidden_dim
    if (
        anchors.TOP_K
        or anchors.NUM_EMBEDDINGS != 1
        or not anchors.DISAPPEARANCE
        or anchors.DISAPPEARANCE_QUERY == "learned"
    ):
        raise ValueError(
            "GenVIS_DAQ has one emergence anchor for each candidate, and a tracker 2 that starts "
            "from clip queries: leave TOP_K, NUM_EMBEDDINGS, DISAPPEARANCE and "
            "DISAPPEARANCE_QUERY of MODEL.TRACKER.ANCHORS at their defaults"
        )
    return GenVISDAQTracker(
        build_clip_module(cfg, segmenter),
        num_queries=segmenter.num_queries,
        mask_dim=segmenter.mask_dim,
        heads=former.NHEADS,
        feedforward_dim=former.DIM_FEEDFORWARD,
        layers=cfg.MODEL.GENVIS.DECODER_LAYERS,
        background_queries=tracker.BACKGROUND_QUERIES,
        window=tracker.APPEARANCE_WINDOW,
        shares=shares_of_queries if anchors.SOFTMAX == "q" else shares_of_keys,
        anchors_first=cfg.MODEL.GENVIS.FIRST_ROWS == "anchors",
        emergence=lambda: emergence_anchors(anchors, dim),
        disappearance=lambda: disappearance_anchors(anchors, dim),
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


def build_static_tracker(cfg: CfgNode, segmenter: Segmenter) -> StaticTracker:
    """Tracker 1 with static anchors."""
    former = cfg.MODEL.MASK_FORMER
    return StaticTracker(
        hidden_dim=segmenter.hidden_dim,
        mask_dim=segmenter.mask_dim,
        num_classes=segmenter.num_classes,
        layers=cfg.MODEL.TRACKER.LAYERS,
        heads=former.NHEADS,
        feedforward_dim=former.DIM_FEEDFORWARD,
    )


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
