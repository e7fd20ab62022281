"""Values of a configuration that have the right type and still cannot be used."""

from __future__ import annotations

from functools import reduce
from operator import getitem

from detectron2.config import CfgNode

from dvis_daq.config_files import ConfigError

ANCHOR_CHOICES = {
    "EMERGENCE_FEATURE": ("SegQ", "SegP", "AppF"),
    "EMERGENCE_USAGE": ("add", "cat", "pos"),
    "DISAPPEARANCE_QUERY": ("learned", "initial"),
    "DISAPPEARANCE_POSITION": ("CTQF", "CTQP"),
    "SOFTMAX": ("k", "q"),
}

LEAST = {
    "SOLVER.MAX_ITER": 1,
    "SOLVER.IMS_PER_BATCH": 1,
    "SOLVER.ACCUMULATION": 1,
    "SOLVER.REFERENCE_BATCH": 1,
    "SOLVER.BASE_LR": 0,
    "SOLVER.WARMUP_ITERS": 0,
    "SOLVER.CHECKPOINT_PERIOD": 0,
    "SOLVER.KEEP_CHECKPOINTS": 0,
    "DATALOADER.NUM_WORKERS": 0,
    "MODEL.SEM_SEG_HEAD.NUM_CLASSES": 1,
    "MODEL.MASK_FORMER.NUM_OBJECT_QUERIES": 1,
    "MODEL.MASK_FORMER.DEC_LAYERS": 1,
    "MODEL.MASK_FORMER.TRAIN_NUM_POINTS": 1,
    "MODEL.TRACKER.LAYERS": 1,
    "MODEL.REFINER.LAYERS": 1,
    "MODEL.CONTRASTIVE.NUM_NEGATIVES": 0,
    "MODEL.LIFECYCLE.PATIENCE": 0,
    "TEST.EVAL_PERIOD": 0,
    "TEST.MAX_INSTANCES": 1,
    "CPU_THREADS": 0,
}


def check_values(cfg: CfgNode) -> None:
    """Refuses values that would otherwise be ignored in silence or fail late."""
    _check_nulls(cfg)
    _check_least(cfg)
    if cfg.SOLVER.AMP.ENABLED:
        raise ConfigError("SOLVER.AMP.ENABLED is not read here; set SOLVER.PRECISION bf16 or fp16")
    _one_of(cfg.MODEL.TASK, "MODEL.TASK", ("vis", "vps", "vss", "vos"))
    _one_of(cfg.MODEL.SEGMENTER, "MODEL.SEGMENTER", ("mask2former", "encoder_only"))
    _one_of(cfg.MODEL.REFINER.TRAIN_FUSION, "MODEL.REFINER.TRAIN_FUSION", ("thresholds", "mean"))
    paddings = ("appearance", "zero", "learned", "none")
    _one_of(cfg.MODEL.REFINER.TEMPORAL_PADDING, "MODEL.REFINER.TEMPORAL_PADDING", paddings)
    _one_of(cfg.MODEL.REFINER.SPATIAL_PADDING, "MODEL.REFINER.SPATIAL_PADDING", ("naive", "no"))
    _one_of(cfg.MODEL.TRACKER.NOISE.MODE, "MODEL.TRACKER.NOISE.MODE", ("none", "rs", "wa", "cc"))
    for key, choices in ANCHOR_CHOICES.items():
        _one_of(cfg.MODEL.TRACKER.ANCHORS[key], f"MODEL.TRACKER.ANCHORS.{key}", choices)
    _one_of(cfg.MODEL.GENVIS.FIRST_ROWS, "MODEL.GENVIS.FIRST_ROWS", ("candidates", "anchors"))
    _one_of(cfg.SOLVER.LR_SCALING, "SOLVER.LR_SCALING", ("none", "linear", "sqrt"))
    _one_of(cfg.SOLVER.NON_FINITE, "SOLVER.NON_FINITE", ("stop", "skip"))
    _one_of(cfg.TEST.FIRST_FRAME_MATCH, "TEST.FIRST_FRAME_MATCH", ("iou", "released"))
    _one_of(cfg.TEST.PRECISION, "TEST.PRECISION", ("float32", "bfloat16", "float16"))
    if cfg.TEST.PRECISION == "float16" and cfg.MODEL.DEVICE == "cpu":
        raise ConfigError("TEST.PRECISION float16 needs a GPU; on MODEL.DEVICE cpu use bfloat16")
    _one_of(cfg.SOLVER.PRECISION, "SOLVER.PRECISION", ("fp32", "bf16", "fp16"))
    clip = cfg.SOLVER.CLIP_GRADIENTS
    _one_of(clip.CLIP_TYPE, "SOLVER.CLIP_GRADIENTS.CLIP_TYPE", ("full_model", "norm", "value"))
    if cfg.SOLVER.CACHE_SEGMENTER:
        _check_fixed_frames(cfg.INPUT)
    if len(cfg.DATASETS.RATIO) not in (0, len(cfg.DATASETS.TRAIN)):
        raise ConfigError(
            f"DATASETS.RATIO has {len(cfg.DATASETS.RATIO)} entries for "
            f"{len(cfg.DATASETS.TRAIN)} data sets in DATASETS.TRAIN; give one each, or none"
        )


def _check_nulls(node: CfgNode, path: str = "") -> None:
    """Raises ConfigError for null, which yacs lets stand for a value of any type."""
    for name, value in node.items():
        key = f"{path}{name}"
        if isinstance(value, CfgNode) and key != "MODEL.TIMM.ARGS":
            _check_nulls(value, f"{key}.")
        elif value is None and key != "SOLVER.WEIGHT_DECAY_BIAS":
            raise ConfigError(f"{key} is null; leave it out, or give a value")


def _check_least(cfg: CfgNode) -> None:
    """Raises ConfigError for numbers below those of `LEAST`."""
    for key, least in LEAST.items():
        value = reduce(getitem, key.split("."), cfg)
        if value < least:
            raise ConfigError(f"{key} is {value}; it must be at least {least}")


def _check_fixed_frames(inputs: CfgNode) -> None:
    """Raises ConfigError when training frames are changed at random."""
    changes = {
        "INPUT.MIN_SIZE_TRAIN": len(inputs.MIN_SIZE_TRAIN) > 1,
        "INPUT.RANDOM_FLIP": inputs.RANDOM_FLIP != "none",
        "INPUT.CROP.ENABLED": inputs.CROP.ENABLED,
        "INPUT.COLOR": any(inputs.COLOR.values()),
        "INPUT.LSJ.ENABLED": inputs.LSJ.ENABLED,
    }
    if any(changes.values()):
        keys = ", ".join(key for key, changed in changes.items() if changed)
        raise ConfigError(f"SOLVER.CACHE_SEGMENTER needs frames that never change; look at {keys}")


def _one_of(value: str, key: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{key} is {value!r}; choose one of {', '.join(choices)}")
