"""A configuration and data that train a real recipe in seconds."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import ROOT
from tests.unit.data.tiny_vis import write_tiny

CONFIG = """
_BASE_: {root}/configs/synthetic/{recipe}.yaml
VERSION: 2
MODEL:
  WEIGHTS: ""
  SEM_SEG_HEAD: {{NUM_CLASSES: 3, CONVS_DIM: 32, MASK_DIM: 32}}
  MASK_FORMER: {{NUM_OBJECT_QUERIES: 5, HIDDEN_DIM: 32, DIM_FEEDFORWARD: 32, DEC_LAYERS: 2}}
  TRACKER: {{LAYERS: 1}}
  CONTRASTIVE: {{NUM_NEGATIVES: 4}}
  EDS:
    STAGES:
      - {{UNTIL: 3, FRAMES: 2, DROP: half}}
      - {{FRAMES: 3, SCORE: 0.1, HIDE: random}}
DATASETS:
  TRAIN: [{name}]
  TEST: [{name}]
  CUSTOM:
    - {{NAME: {name}, TASK: vis, JSON: {json}, IMAGES: {images}}}
INPUT:
  MIN_SIZE_TRAIN: [32]
SOLVER:
  MAX_ITER: 3
  IMS_PER_BATCH: 2
  WARMUP_ITERS: 0
OUTPUT_DIR: {output}
"""


def tiny_config(folder: Path, recipe: str = "MinVIS") -> Path:
    """Writes data and a configuration of a recipe in `configs/synthetic`; returns the YAML."""
    json_file, images = write_tiny(folder)
    text = CONFIG.format(
        root=ROOT,
        recipe=recipe,
        name="tiny_" + folder.name,
        json=json_file,
        images=images,
        output=folder / "output",
    )
    file = folder / f"{recipe}.yaml"
    file.write_text(text)
    return file
