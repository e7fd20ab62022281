"""Translates YAML files of the released DVIS code bases (DVIS-DAQ, DVIS++, CTVIS, MinVIS).

One table says for each released key what becomes of it: the key of ours that takes its
value, a function that makes several, the only value that is supported, or nothing when
the released code does not act on it either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Only:
    """The one value that is supported; another one is an error."""

    value: Any


@dataclass(frozen=True)
class Ignored:
    """A key without effect: `why`."""

    why: str


@dataclass(frozen=True)
class Renamed:
    """The value goes to `key` as it is."""

    key: str


Rule = Only | Ignored | Renamed

INERT = Ignored("declared or read by the released code, without effect")
KNOWN = Ignored("follows from the data set's own entry")
DERIVED = Ignored("translated by _derive")
OTHER_MODEL = Ignored("belongs to models that are not part of this family")
LSJ = Ignored("sizes of large-scale jitter, which is off; INPUT.LSJ_AUG has its own")

OFFICIAL_KEYS: dict[str, Rule] = {
    "DATASETS.DATASET_NEED_MAP": KNOWN,
    "DATASETS.DATASET_RATIO": Renamed("DATASETS.RATIO"),
    "DATASETS.DATASET_TYPE": KNOWN,
    "DATASETS.DATASET_TYPE_TEST": KNOWN,
    "INPUT.AUGMENTATIONS": Only([]),
    "INPUT.COLOR_AUG_SSD": Only(False),
    "INPUT.CROP.SINGLE_CATEGORY_MAX_AREA": Only(1.0),
    "INPUT.DATASET_MAPPER_NAME": INERT,
    "INPUT.IMAGE_SIZE": LSJ,
    "INPUT.LSJ_AUG.ENABLED": DERIVED,
    "INPUT.LSJ_AUG.IMAGE_SIZE": DERIVED,
    "INPUT.LSJ_AUG.MAX_SCALE": DERIVED,
    "INPUT.LSJ_AUG.MIN_SCALE": DERIVED,
    "INPUT.MAX_SCALE": LSJ,
    "INPUT.MIN_SCALE": LSJ,
    "INPUT.PSEUDO.AUGMENTATIONS": Only(["rotation"]),
    "INPUT.PSEUDO.CROP.SIZE": INERT,
    "INPUT.PSEUDO.CROP.TYPE": INERT,
    "INPUT.MIN_SIZE_TRAIN_SAMPLING": DERIVED,
    "INPUT.RANDOM_FLIP": DERIVED,
    "INPUT.PSEUDO.MIN_SIZE_TRAIN_SAMPLING": Only("choice_by_clip"),
    "INPUT.REVERSE_AGU": Renamed("INPUT.CLIP.REVERSE"),
    "INPUT.SAMPLING_FRAME_NUM": Renamed("INPUT.CLIP.FRAMES"),
    "INPUT.SAMPLING_FRAME_RANGE": Renamed("INPUT.CLIP.RANGE"),
    "INPUT.SAMPLING_FRAME_RATIO": Only(1.0),
    "INPUT.SAMPLING_FRAME_SHUFFLE": Renamed("INPUT.CLIP.SHUFFLE"),
    "INPUT.SIZE_DIVISIBILITY": INERT,
    "INPUT.STEPS": DERIVED,
    "INPUT.USING_FRAME_NUM": DERIVED,
    "MODEL.CL_PLUGIN.AUX_REID_WEIGHT": Renamed("MODEL.CONTRASTIVE.AUX_WEIGHT"),
    "MODEL.CL_PLUGIN.BIO_CL": INERT,
    "MODEL.CL_PLUGIN.CL_PLUGIN_NAME": Only("CTCLPlugin"),
    "MODEL.CL_PLUGIN.FUSION_LOSS": INERT,
    "MODEL.CL_PLUGIN.MOMENTUM_EMBED": Renamed("MODEL.CONTRASTIVE.MOMENTUM"),
    "MODEL.CL_PLUGIN.NOISE_EMBED": Only(False),
    "MODEL.CL_PLUGIN.NUM_NEGATIVES": Renamed("MODEL.CONTRASTIVE.NUM_NEGATIVES"),
    "MODEL.CL_PLUGIN.ONE_DIRECTION": INERT,
    "MODEL.CL_PLUGIN.REID_WEIGHT": Renamed("MODEL.CONTRASTIVE.WEIGHT"),
    "MODEL.MASK_FORMER.DEEP_SUPERVISION": Only(True),
    "MODEL.MASK_FORMER.DROPOUT": Only(0.0),
    "MODEL.MASK_FORMER.ENC_LAYERS": OTHER_MODEL,
    "MODEL.MASK_FORMER.ENFORCE_INPUT_PROJ": Only(False),
    "MODEL.MASK_FORMER.PRE_NORM": Only(False),
    "MODEL.MASK_FORMER.TEST.INSTANCE_ON": INERT,
    "MODEL.MASK_FORMER.TEST.MAX_NUM": Renamed("TEST.MAX_INSTANCES"),
    "MODEL.MASK_FORMER.TEST.PANOPTIC_ON": INERT,
    "MODEL.MASK_FORMER.TEST.SEMANTIC_ON": INERT,
    "MODEL.MASK_FORMER.TEST.SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE": INERT,
    "MODEL.MASK_FORMER.TEST.TASK": Renamed("MODEL.TASK"),
    "MODEL.MASK_FORMER.TEST.WINDOW_INFERENCE": INERT,
    "MODEL.MASK_FORMER.TEST.WINDOW_SIZE": Ignored("changes memory only; see TEST.WINDOW"),
    "MODEL.MASK_FORMER.TRANSFORMER_DECODER_NAME": Ignored("the recipe chooses the decoder"),
    "MODEL.MASK_FORMER.TRANSFORMER_IN_FEATURE": Only("multi_scale_pixel_decoder"),
    "MODEL.REFINER.DECODER_LAYERS": Renamed("MODEL.REFINER.LAYERS"),
    "MODEL.REFINER.USE_CL": Renamed("MODEL.REFINER.CONTRASTIVE"),
    "MODEL.META_ARCHITECTURE": DERIVED,
    "MODEL.RESNETS.RES4_DILATION": Only(1),
    "MODEL.RESNETS.RES5_MULTI_GRID": Only([1, 1, 1]),
    "MODEL.RESNETS.STEM_TYPE": Only("basic"),
    "MODEL.SEM_SEG_HEAD.ASPP_CHANNELS": OTHER_MODEL,
    "MODEL.SEM_SEG_HEAD.ASPP_DILATIONS": OTHER_MODEL,
    "MODEL.SEM_SEG_HEAD.ASPP_DROPOUT": OTHER_MODEL,
    "MODEL.SEM_SEG_HEAD.LOSS_TYPE": OTHER_MODEL,
    "MODEL.SEM_SEG_HEAD.NAME": Only("MaskFormerHead"),
    "MODEL.SEM_SEG_HEAD.PIXEL_DECODER_NAME": Only("MSDeformAttnPixelDecoder"),
    "MODEL.SEM_SEG_HEAD.PROJECT_CHANNELS": OTHER_MODEL,
    "MODEL.SEM_SEG_HEAD.PROJECT_FEATURES": OTHER_MODEL,
    "MODEL.SEM_SEG_HEAD.RETURN_TRANSFORMER_FEATURE": INERT,
    "MODEL.SEM_SEG_HEAD.USE_DEPTHWISE_SEPARABLE_CONV": OTHER_MODEL,
    "MODEL.SWIN.APE": Only(False),
    "MODEL.SWIN.ATTN_DROP_RATE": Only(0.0),
    "MODEL.SWIN.DROP_RATE": Only(0.0),
    "MODEL.SWIN.OUT_FEATURES": Only(["res2", "res3", "res4", "res5"]),
    "MODEL.SWIN.PATCH_NORM": Only(True),
    "MODEL.SWIN.PRETRAIN_IMG_SIZE": Ignored("sizes the absolute position embedding, which is off"),
    "MODEL.SWIN.QK_SCALE": Only(None),
    "MODEL.TRACKER.DECODER_LAYERS": Renamed("MODEL.TRACKER.LAYERS"),
    "MODEL.TRACKER.NOISE_MODE": Renamed("MODEL.TRACKER.NOISE.MODE"),
    "MODEL.TRACKER.NOISE_RATIO": Renamed("MODEL.TRACKER.NOISE.RATIO"),
    "MODEL.TRACKER.USE_CL": Renamed("MODEL.TRACKER.CONTRASTIVE"),
    "MODEL.VIDEO_HEAD.AUX_INFERENCE_SELECT_THRESHOLD": Renamed("MODEL.LIFECYCLE.FIRST_SCORE"),
    "MODEL.VIDEO_HEAD.CL_ON_SLOTS": INERT,
    "MODEL.VIDEO_HEAD.DIS_FG_THRESHOLD": Renamed("MODEL.LIFECYCLE.FOREGROUND_SCORE"),
    "MODEL.VIDEO_HEAD.INFERENCE_SELECT_THRESHOLD": Renamed("MODEL.LIFECYCLE.SCORE"),
    "MODEL.VIDEO_HEAD.MASK_NMS_THR": INERT,
    "MODEL.VIDEO_HEAD.NOISE_FRAME_NUM": INERT,
    "MODEL.VIDEO_HEAD.NUM_NEW_INS": DERIVED,
    "MODEL.VIDEO_HEAD.NUM_SLOTS": Renamed("MODEL.TRACKER.BACKGROUND_QUERIES"),
    "MODEL.VIDEO_HEAD.OFFLINE_TOPK_NUM": Renamed("MODEL.REFINER.MAX_TRACKS"),
    "MODEL.VIDEO_HEAD.OVIS_INFER": Renamed("MODEL.TRACKER.ANCHORS.DECIDES"),
    "MODEL.VIDEO_HEAD.SKIP_PARAMS": INERT,
    "MODEL.VIDEO_HEAD.TEMPORAL_SCORE_TYPE": INERT,
    "MODEL.VIDEO_HEAD.TRAINING_SELECT_THRESHOLD": DERIVED,
    "MODEL.VIDEO_HEAD.USE_LOCAL_ATTN": Renamed("MODEL.REFINER.LOCAL_CONV"),
    "MODEL.VIDEO_HEAD.USING_THR": INERT,
    "MODEL.VIT_ADAPTER.WITH_CP": INERT,
    "MODEL.VIT_ADAPTER.FINETUNE": Only(False),
    "MODEL.VIT_ADAPTER.FINETUNE_INDEXES": INERT,
    "SOLVER.AMP.ENABLED": DERIVED,
    "SOLVER.OPTIMIZER": Only("ADAMW"),
    "SOLVER.POLY_LR_CONSTANT_ENDING": INERT,
    "SOLVER.POLY_LR_POWER": INERT,
}

# What the released code assumes where a file is silent and our own default differs.
OFFICIAL_DEFAULTS: dict[str, Any] = {
    "INPUT.SAMPLING_FRAME_NUM": 2,
    "INPUT.SAMPLING_FRAME_RANGE": 20,
    "MODEL.VIDEO_HEAD.OVIS_INFER": False,
}

# Only a released file sets one of these.
MARKERS = (
    "MODEL.VIDEO_HEAD",
    "MODEL.CL_PLUGIN",
    "MODEL.MASK_FORMER.TRANSFORMER_DECODER_NAME",
    "INPUT.SAMPLING_FRAME_NUM",
    "INPUT.PSEUDO.CROP.TYPE",
)

VIPSEG_THINGS = 58  # of the 124 classes of VIPSeg and VSPW; all other data sets have things only

RECIPES = {
    "CTMinVIS": "CTVIS",
    "DVIS_Plus_online": "DVIS_online",
    "DVIS_Plus_offline": "DVIS_offline",
}


def is_official(values: Mapping[str, Any]) -> bool:
    """Whether `values`, a YAML's content, speaks the keys of the released code."""
    return any(_has(values, marker) for marker in MARKERS)


def translate(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turns the content of a released YAML into our keys.

    Args:
        values: nested mapping, `_BASE_` already resolved.

    Returns:
        Nested mapping to be merged into `get_cfg()`; keys that are not in the table go
        through, so that an unknown one is refused by the merge.

    Raises:
        ValueError: a key holds a value that this code base does not support.
    """
    released = OFFICIAL_DEFAULTS | _flatten(values)
    ours: dict[str, Any] = {}
    for key, value in released.items():
        rule = OFFICIAL_KEYS.get(key, Renamed(key))
        if isinstance(rule, Renamed):
            ours[rule.key] = value
        elif isinstance(rule, Only) and _plain(value) != rule.value:
            raise ValueError(f"{key} is {value!r}; only {rule.value!r} is supported")
    return _nest(ours | _derive(released))


def _derive(released: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of ours that depend on more than one released key, or change their values."""
    architecture = released.get("MODEL.META_ARCHITECTURE", "")
    flips = released.get("INPUT.RANDOM_FLIP") != "none"
    ours: dict[str, Any] = {
        "MODEL.META_ARCHITECTURE": RECIPES.get(architecture, architecture),
        "SOLVER.PRECISION": "fp16" if released.get("SOLVER.AMP.ENABLED") else "fp32",
        "INPUT.RANDOM_FLIP": "horizontal" if flips else "none",
        "INPUT.MIN_SIZE_TRAIN_SAMPLING": "choice",
    }
    classes = released.get("MODEL.SEM_SEG_HEAD.NUM_CLASSES")
    if classes is not None:
        ours["MODEL.SEM_SEG_HEAD.NUM_THINGS"] = VIPSEG_THINGS if classes == 124 else classes
    if released.get("INPUT.LSJ_AUG.ENABLED"):
        names = {"ENABLED": "ENABLED", "IMAGE_SIZE": "SIZE", "MIN_SCALE": "MIN_SCALE",
                 "MAX_SCALE": "MAX_SCALE"}  # fmt: skip
        given = {f"INPUT.LSJ.{new}": f"INPUT.LSJ_AUG.{old}" for old, new in names.items()}
        ours |= {new: released[old] for new, old in given.items() if old in released}
    if architecture in ("MinVIS", "CTMinVIS"):
        ours["TEST.MAX_INSTANCES"] = 10  # fixed there, whatever MAX_NUM says
    if architecture.startswith("DVIS_DAQ"):
        _check_new_instances(released)
        if released.get("INPUT.STEPS"):
            ours["MODEL.EDS.STAGES"] = _stages(released)
    return ours


def _check_new_instances(released: Mapping[str, Any]) -> None:
    new = released.get("MODEL.VIDEO_HEAD.NUM_NEW_INS", 10)
    queries = released.get("MODEL.MASK_FORMER.NUM_OBJECT_QUERIES", 100)
    if new != queries:
        raise ValueError(
            f"MODEL.VIDEO_HEAD.NUM_NEW_INS is {new}, MODEL.MASK_FORMER.NUM_OBJECT_QUERIES is "
            f"{queries}; each candidate has one emergence anchor, so set both to the same number"
        )


def _stages(released: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Stage 2 until INPUT.STEPS, stage 3 afterwards; a disappearance is never simulated for VPS."""
    early, late = released["INPUT.USING_FRAME_NUM"]
    task = released.get("MODEL.MASK_FORMER.TEST.TASK", "vis")
    score = released.get("MODEL.VIDEO_HEAD.TRAINING_SELECT_THRESHOLD", 0.1)
    return [
        {"UNTIL": released["INPUT.STEPS"][0], "FRAMES": early, "DROP": "half"},
        {"FRAMES": late, "SCORE": score, "HIDE": "none" if task == "vps" else "random"},
    ]


def _has(values: Mapping[str, Any], dotted: str) -> bool:
    node: Any = values
    for name in dotted.split("."):
        if not isinstance(node, Mapping) or name not in node:
            return False
        node = node[name]
    return True


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        key = prefix + name
        if isinstance(value, Mapping):
            flat |= _flatten(value, key + ".")
        else:
            flat[key] = value
    return flat


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *path, name = key.split(".")
        node = nested
        for part in path:
            node = node.setdefault(part, {})
        node[name] = value
    return nested


def _plain(value: Any) -> Any:
    """YAML tuples, lists and strings that hold one compare as lists."""
    return list(value) if isinstance(value, tuple) else value
