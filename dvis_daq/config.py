"""Every key of the configuration: default, unit, and its place in the paper.

Detectron2's own keys keep their meaning; the segmenter keeps the field's keys
(`MODEL.MASK_FORMER`, `MODEL.SEM_SEG_HEAD`); what only this method has is named with the
paper's words. `get_config` is the one way in for tools, tests and notebooks.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode, get_cfg

from dvis_daq.config_checks import check_values
from dvis_daq.config_files import ConfigError, read_yaml
from dvis_daq.official_config import is_official, translate

__all__ = ["ConfigError", "add_dvis_daq_config", "get_config"]

logger = logging.getLogger(__name__)

_TYPES = re.compile(
    r"Type mismatch \(<class '(?:\w+\.)*(\w+)'> vs\. <class '(?:\w+\.)*(\w+)'>\)"
    r".* for config key: (\S+)",
    re.DOTALL,
)


def add_dvis_daq_config(cfg: CfgNode) -> None:
    """Adds the keys of this package to Detectron2's defaults, in place."""
    _add_backbones(cfg)
    _add_segmenter(cfg)
    _add_tracker(cfg)
    _add_training(cfg)
    _add_input(cfg)
    _add_datasets(cfg)
    _add_test(cfg)


def get_config(file: str | Path | None = None, opts: Sequence[str] = ()) -> CfgNode:
    """Defaults, then a YAML file with its `_BASE_` chain, then `KEY VALUE` overrides.

    A YAML of the released DVIS code base loads unchanged: its keys are translated by
    `official_config.OFFICIAL_KEYS`.

    Args:
        file: the YAML, or None for the defaults alone.
        opts: alternating keys and values, as they come from a command line.

    Returns:
        A frozen configuration.

    Raises:
        ConfigError: the file is missing or is no safe YAML, a key is unknown, or a value
            has the wrong type.
    """
    cfg = get_cfg()
    add_dvis_daq_config(cfg)
    if file is not None:
        values = read_yaml(Path(file))
        source = str(file)
        if is_official(values):
            try:
                values = translate(values)
            except ValueError as error:
                raise ConfigError(f"{file}: {error}") from None
            logger.info("%s is a released configuration; its keys were translated", file)
        _merge(cfg, values, source)
    _merge_opts(cfg, list(opts))
    check_values(cfg)
    cfg.freeze()
    return cfg


def _merge(cfg: CfgNode, values: Mapping[str, Any], source: str) -> None:
    try:
        cfg.merge_from_other_cfg(CfgNode(values))
    except (KeyError, ValueError, AssertionError, TypeError) as error:
        raise ConfigError(f"{source}: {_sentence(error)}") from None


def _merge_opts(cfg: CfgNode, opts: list[str]) -> None:
    for word in opts[::2]:
        if word.startswith("--"):
            raise ConfigError(f"{word} stands after KEY VALUE overrides; put it before them")
    if len(opts) % 2:
        raise ConfigError(f"overrides must be KEY VALUE pairs, {opts[-1]!r} has no value")
    try:
        cfg.merge_from_list(opts)
    except (KeyError, ValueError, AssertionError) as error:
        raise ConfigError(f"override on the command line: {_sentence(error)}") from None


def _sentence(error: Exception) -> str:
    """What yacs says, in one line; of a wrong type it would print both values."""
    message = str(error.args[0] if error.args else error)
    if types := _TYPES.match(message):
        wanted, given, key = types.groups()
        return f"{key} is of type {given}; expected {wanted.replace('CfgNode', 'a group of keys')}"
    return " ".join(message.split())


def _add_backbones(cfg: CfgNode) -> None:
    model = cfg.MODEL
    model.TIMM = CfgNode()  # MODEL.BACKBONE.NAME build_timm_backbone
    model.TIMM.NAME = "resnet18"
    model.TIMM.PRETRAINED = False
    model.TIMM.ARGS = CfgNode(new_allowed=True)  # keyword arguments of the timm model

    swin = model.SWIN = CfgNode()  # MODEL.BACKBONE.NAME D2SwinTransformer
    swin.PATCH_SIZE = 4
    swin.EMBED_DIM = 96
    swin.DEPTHS = [2, 2, 6, 2]
    swin.NUM_HEADS = [3, 6, 12, 24]
    swin.WINDOW_SIZE = 7
    swin.MLP_RATIO = 4.0
    swin.QKV_BIAS = True
    swin.DROP_PATH_RATE = 0.3
    swin.USE_CHECKPOINT = False  # recompute activations in the backward pass

    vit = model.VIT_ADAPTER = CfgNode()  # MODEL.BACKBONE.NAME D2VitAdapterDinoV2
    vit.NAME = "vitl"  # vitt (never pretrained) | vits | vitb | vitl
    vit.VIT_WEIGHT = ""  # DINOv2 weights that training starts from where MODEL.WEIGHTS is empty
    vit.FREEZE_VIT = True


def _add_segmenter(cfg: CfgNode) -> None:
    model = cfg.MODEL
    model.TASK = "vis"  # what is delivered: vis | vps | vss | vos
    model.PARTIAL_WEIGHTS = False  # allow MODEL.WEIGHTS that do not fit; what is left out is logged

    head = model.SEM_SEG_HEAD
    head.IN_FEATURES = ["res2", "res3", "res4", "res5"]
    head.NUM_CLASSES = 25  # K, without background
    head.NUM_THINGS = 25  # classes 0 .. NUM_THINGS - 1 are things, the rest is stuff (VPS)
    head.CONVS_DIM = 256  # width of the pixel decoder
    head.MASK_DIM = 256  # D, channels of the mask features
    head.TRANSFORMER_ENC_LAYERS = 6  # deformable encoder layers
    head.DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES = ["res3", "res4", "res5"]
    head.DEFORMABLE_TRANSFORMER_ENCODER_N_HEADS = 8
    head.DEFORMABLE_TRANSFORMER_ENCODER_N_POINTS = 4
    head.DEFORMABLE_TRANSFORMER_ENCODER_FEEDFORWARD = 1024  # fixed in the released code

    # mask2former: a backbone and two decoders | encoder_only: the queries pass the last blocks of
    # the ViT of MODEL.VIT_ADAPTER.{NAME,VIT_WEIGHT}, which learns; no backbone and no decoder
    model.SEGMENTER = "mask2former"
    model.ENCODER_ONLY = CfgNode()
    model.ENCODER_ONLY.QUERY_BLOCKS = 4

    former = model.MASK_FORMER = CfgNode()
    former.NUM_OBJECT_QUERIES = 100  # Q, also the number of emergence anchors
    former.HIDDEN_DIM = 256  # C
    former.NHEADS = 8
    former.DIM_FEEDFORWARD = 2048  # of the query decoder, the trackers and the refiner
    former.DEC_LAYERS = 10  # predictions: one before the layers, one after each
    former.REID_BRANCH = True  # re-identification head, as in CTVIS, DVIS++, DVIS-DAQ
    former.REID_HIDDEN_DIM = 256
    former.NUM_REID_HEAD_LAYERS = 3
    former.SIZE_DIVISIBILITY = 32  # images are padded to a multiple, in pixels
    # Losses and matching costs (Eq. 6)
    former.CLASS_WEIGHT = 2.0
    former.MASK_WEIGHT = 5.0
    former.DICE_WEIGHT = 5.0
    former.NO_OBJECT_WEIGHT = 0.1  # of the background class in the cross entropy
    former.TRAIN_NUM_POINTS = 12544  # points a mask, in costs and losses
    former.OVERSAMPLE_RATIO = 3.0
    former.IMPORTANCE_SAMPLE_RATIO = 0.75
    # Panoptic post-processing
    former.TEST = CfgNode()
    former.TEST.OBJECT_MASK_THRESHOLD = 0.8  # score below which a track is dropped
    former.TEST.OVERLAP_THRESHOLD = 0.8  # share of its own area that a segment must keep


def _add_tracker(cfg: CfgNode) -> None:
    tracker = cfg.MODEL.TRACKER = CfgNode()
    tracker.LAYERS = 6  # of tracker 1 and of tracker 2
    tracker.BACKGROUND_QUERIES = 5  # S, background embeddings of tracker 2 (Fig. 6)
    tracker.APPEARANCE_WINDOW = 9  # W, earlier observations in Eq. 5
    tracker.ANCHORS = CfgNode()
    # Tracker 2 has a say at inference. Released: on for OVIS and MOSE, off for the others.
    tracker.ANCHORS.DECIDES = True
    # Choices of the paper's ablations; the defaults are the released ones.
    tracker.ANCHORS.DISAPPEARANCE = True  # there is a tracker 2 (Tab. 3a, DDAQ)
    tracker.ANCHORS.TOP_K = 0  # K candidates that get emergence anchors; 0: all (Tab. 3b)
    tracker.ANCHORS.NUM_EMBEDDINGS = 1  # N learned queries a candidate (Tab. 3b)
    tracker.ANCHORS.EMERGENCE_FEATURE = "AppF"  # SegQ | SegP | AppF (Tab. 3e)
    tracker.ANCHORS.EMERGENCE_USAGE = "pos"  # add | cat | pos (Tab. 3e)
    tracker.ANCHORS.DISAPPEARANCE_QUERY = "initial"  # learned | initial SegQ (Tab. 3f)
    tracker.ANCHORS.DISAPPEARANCE_POSITION = "CTQP"  # CTQF | CTQP (Tab. 3f)
    tracker.ANCHORS.SOFTMAX = "q"  # of tracker 2, along the keys k or the queries q (Tab. A4a)

    # Only for the static anchors of DVIS++ (`DVIS_online`, `DVIS_offline`)
    tracker.NOISE = CfgNode()
    tracker.NOISE.MODE = "none"  # none | rs | wa | cc: disturbs the order of queries
    tracker.NOISE.RATIO = 0.5  # probability a frame
    tracker.CONTRASTIVE = True  # contrastive loss on the references

    refiner = cfg.MODEL.REFINER = CfgNode()
    refiner.LAYERS = 6
    refiner.LOCAL_CONV = False  # convolution over time in each layer; `DVIS_offline` has it always
    refiner.MAX_TRACKS = 20  # best tracks that are refined
    # Tab. A4c. Frames in which a track does not live: appearance | zero | learned (a query) |
    # none (hidden from attention).
    refiner.TEMPORAL_PADDING = "appearance"
    refiner.SPATIAL_PADDING = "naive"  # naive: chains of similar candidates fill the rows | no
    # Life cycle while the refiner is trained: "thresholds", the one of inference, or "mean", as
    # released: tracks are kept by the mean of both trackers' logits.
    refiner.TRAIN_FUSION = "thresholds"
    refiner.CONTRASTIVE = True  # contrastive loss of DVIS++ offline

    _add_genvis(cfg)

    contrastive = cfg.MODEL.CONTRASTIVE = CfgNode()  # CTVIS
    contrastive.WEIGHT = 2.0
    contrastive.AUX_WEIGHT = 3.0
    contrastive.NUM_NEGATIVES = 99
    contrastive.MOMENTUM = True  # the momentum embedding is the positive, half of the time

    life = cfg.MODEL.LIFECYCLE = CfgNode()
    life.FIRST_SCORE = 0.01  # the segmenter's score that starts a track in the first frame
    life.SCORE = 0.1  # tracker 1: a row is seen, or a newcomer is born (Tab. 3c)
    life.FOREGROUND_SCORE = 0.01  # tracker 2: a track is still there
    life.PATIENCE = 8  # frames in a row without a sighting after which a track ends


def _add_genvis(cfg: CfgNode) -> None:
    genvis = cfg.MODEL.GENVIS = CfgNode()  # `GenVIS`, `GenVIS_DAQ`
    genvis.CLIP_FRAMES = 1  # frames a clip: 1 online, 3 semi-online; `GenVIS_DAQ` has always 1
    genvis.FRAME_LAYERS = 3  # last decoder layers of the segmenter that are learned from
    genvis.ENCODER_LAYERS = 6
    genvis.DECODER_LAYERS = 3
    genvis.NUM_QUERIES = 100  # rows, `GenVIS` only; `GenVIS_DAQ` has tracks and anchors
    genvis.SIMILARITY_WEIGHT = 0.5
    # `GenVIS_DAQ`: rows of a first frame, its candidates as in DVIS-DAQ | anchors as in later ones.
    genvis.FIRST_ROWS = "candidates"
    # Instance prototype memory; the baseline of Tab. A1 has none. MEMORY_CLIPS: the latest clips
    # that are read, 0 for all, as published.
    genvis.MEMORY = True
    genvis.MEMORY_CLIPS = 0


def _add_training(cfg: CfgNode) -> None:
    eds = cfg.MODEL.EDS = CfgNode()
    # Stages of the emergence and disappearance simulation (Sec. 3.3), each a mapping:
    # UNTIL iteration (none: to the end), FRAMES of the clip, DROP "half" (ES: the lower half
    # of the matched tracks) or SCORE (tracks above it are kept), HIDE "random", "continuous",
    # "one" (DS, Tab. 3d) or "none", HIDE_ABOVE the number of tracked objects from which on DS
    # happens (3).
    eds.STAGES = [
        {"UNTIL": 10000, "FRAMES": 2, "DROP": "half"},
        {"FRAMES": 5, "SCORE": 0.1, "HIDE": "random"},
    ]

    solver = cfg.SOLVER
    solver.WEIGHT_DECAY_EMBED = 0.0  # weight decay of Embedding modules
    solver.WEIGHT_DECAY_NORM = 0.0
    solver.BACKBONE_MULTIPLIER = 0.1  # learning rate of the backbone over that of the rest
    solver.PRECISION = "fp32"  # fp32 | bf16 | fp16
    solver.ACCUMULATION = 1  # batches a step
    # BASE_LR holds for steps of REFERENCE_BATCH clips (IMS_PER_BATCH * ACCUMULATION); for others
    # it is scaled: none | linear | sqrt (of the ratio)
    solver.LR_SCALING = "none"
    solver.REFERENCE_BATCH = 8
    # How the model is computed; see `engine.adaptation`
    solver.SYNC_BN = True  # batch norms see the clips of all GPUs
    solver.ACTIVATION_CHECKPOINTING = False
    solver.CHANNELS_LAST = False
    solver.COMPILE = False
    # A loss, matching cost or gradient that is not finite: stop, or skip the step (and go on)
    solver.NON_FINITE = "stop"
    solver.KEEP_CHECKPOINTS = 5  # newest model_<iteration>.pth that stay; 0: all
    # Keep the frozen segmenter's outputs of every training frame in memory. Frames must always
    # look the same: one size, no crop, flip or colour (checked).
    solver.CACHE_SEGMENTER = False
    # Keep them in this folder instead, also for later trainings; empty: in memory. A frame of
    # 480 x 854 pixels takes 18 MiB. Files of other weights are left alone.
    solver.CACHE_FOLDER = ""
    cfg.CPU_THREADS = 0  # torch threads a process; 0 leaves torch's choice
    cfg.SEED = 42


def _add_input(cfg: CfgNode) -> None:
    cfg.INPUT.FORMAT = "RGB"
    clip = cfg.INPUT.CLIP = CfgNode()
    clip.FRAMES = 5  # frames a training clip
    # Other frames lie within +-RANGE of a reference frame; 2 * RANGE + 1 == FRAMES is a
    # contiguous clip.
    clip.RANGE = 2
    clip.STRIDE = 1  # contiguous clips: a step of 1..STRIDE frames, drawn once a clip
    clip.SHUFFLE = False  # frames in random order
    clip.REVERSE = False  # play half of the clips backwards
    clip.SKIP_EMPTY_FIRST = False  # draw again when the first frame shows no object

    crop = cfg.INPUT.CROP
    crop.ENABLED = False
    crop.TYPE = "absolute_range"
    crop.SIZE = [384, 600]  # pixels
    crop.RESIZE = [400, 500, 600]  # short side before cropping, pixels

    color = cfg.INPUT.COLOR = CfgNode()  # strengths s: a factor in [1 - s, 1 + s], one a clip
    color.BRIGHTNESS = 0.0
    color.CONTRAST = 0.0
    color.SATURATION = 0.0

    # Large-scale jitter in place of crop and resize, of videos and of still images alike.
    lsj = cfg.INPUT.LSJ = CfgNode()
    lsj.ENABLED = False
    lsj.SIZE = 1024  # side of the square that comes out, pixels
    lsj.MIN_SCALE = 0.1  # a clip is fitted into SIZE times a factor of this range, drawn once
    lsj.MAX_SCALE = 2.0

    pseudo = cfg.INPUT.PSEUDO = CfgNode()  # clips made from one image (COCO joint training)
    pseudo.ROTATION = 15.0  # degrees; angles of a clip are sorted, so the image turns smoothly
    pseudo.MIN_SIZE_TRAIN = [480, 512, 544, 576, 608, 640, 672, 704, 736, 768]
    pseudo.MAX_SIZE_TRAIN = 768
    pseudo.CROP = CfgNode()
    pseudo.CROP.ENABLED = False


def _add_datasets(cfg: CfgNode) -> None:
    cfg.DATASETS.RATIO = []  # relative weight of each data set in DATASETS.TRAIN; empty: equal
    # Data sets defined here, no source edit needed. Each entry is a mapping with NAME, TASK and
    # paths: JSON, IMAGES for vis, image and vos; JSON, IMAGES, MASKS for vps; SPLIT, IMAGES for
    # vss. vis and image may have MAP (classes for joint training), vss CATEGORIES, vos MASKS.
    # Relative paths start at the working directory. docs/data.md has the formats.
    cfg.DATASETS.CUSTOM = []
    # Training leaves out what is broken (entries of a json, frames, masks), says so and counts it.
    # Off: the first fault is an error. Evaluation never leaves out anything.
    cfg.DATALOADER.SKIP_BROKEN = False


def _add_test(cfg: CfgNode) -> None:
    cfg.TEST.MAX_INSTANCES = 20  # (track, class) pairs reported a video
    # Figure by which model_best.pth is kept, e.g. "segm/AP"; "": the first of the first data set.
    cfg.TEST.BEST = ""
    # Frames that pass the segmenter at once; 0: 5 on a GPU, and 1 on a CPU, where more take memory
    # and more time (docs/benchmarks.md).
    cfg.TEST.WINDOW = 0
    # float32 | bfloat16 | float16 (GPU only): of the segmenter; trackers stay in float32
    cfg.TEST.PRECISION = "float32"
    # The segmenter by torch.compile, on a GPU also trackers 1 and 2, as CUDA graphs: minutes at
    # the first frames, so for GPUs and long videos (docs/benchmarks.md).
    cfg.TEST.COMPILE = False
    # Show the mask of a track in frames in which it was not seen but is within its patience, as
    # released. False leaves them out: fewer ghosts.
    cfg.TEST.SHOW_UNSEEN = True
    # How the given objects of MODEL.TASK vos find their tracks: by mask IoU, or with the formula
    # of the release, which takes logits for masks and may prefer a wrong track.
    cfg.TEST.FIRST_FRAME_MATCH = "iou"
    cfg.TEST.TRACE = False  # write trace.jsonl beside results.json, for tools/eval.py --explain
    # Measure the feature transition gap (Tab. A3) in every evaluation, also those of a training.
    cfg.TEST.TRANSITION_GAP = False
    # MiB of stride-4 masks (1 MiB for 20 tracks in a frame of 480 x 854) that wait for the end of a
    # video, where the best tracks are known; beyond it those of all tracks become run lengths.
    cfg.TEST.MASK_BUDGET = 256
    cfg.TEST.MASK_DTYPE = "float16"  # of the stride-4 masks kept for a whole video
    # Offline models: keep the mask features of a whole video in main memory (25 MiB a frame of
    # 480 x 854 pixels) instead of running the segmenter twice.
    cfg.TEST.KEEP_FEATURES = False
