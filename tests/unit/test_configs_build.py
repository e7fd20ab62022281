"""Every shipped configuration builds, with the weights of the release where there is one."""

import json
import re
from functools import cache
from pathlib import Path

import pytest
import torch
from detectron2.modeling import META_ARCH_REGISTRY

import dvis_daq.recipes  # noqa: F401  registers the models
from dvis_daq.checkpoint import to_official
from dvis_daq.config import ConfigError, get_config
from dvis_daq.model import VideoModel
from tests.conftest import ROOT

# A base.yaml chooses no method; those of ablations are tried in test_ablations.py.
SHIPPED = sorted(
    file
    for file in (ROOT / "configs").glob("*/*.yaml")
    if file.name != "base.yaml" and file.parent.name != "ablations"
)
# our file -> the manifest of the released model
MANIFESTS = {
    "ovis/DVIS_DAQ_online_R50": "DAQ_Online_R50_ovis",
    "vipseg/DVIS_DAQ_online_R50": "DAQ_Online_R50_vipseg",
    "ovis/DVIS_DAQ_online_SwinL": "DAQ_Online_SwinL_ovis",
    "ovis/DVIS_DAQ_online_ViTL": "DAQ_Online_VitAdapterL_ovis",
    "ovis/DVIS_DAQ_offline_R50": "DAQ_Offline_R50_ovis",
    "ovis/DVIS_DAQ_offline_ViTL": "DAQ_Offline_VitAdapterL_ovis",
    "ovis/MinVIS_R50": "MinVIS_R50_ovis",
    "ovis/CTVIS_R50": "CTVIS_R50_ovis",
    "ovis/DVIS_online_R50": "DVIS_Plus_Online_R50_16wIter_ovis",
    "ovis/DVIS_offline_R50": "DVIS_Plus_Offline_R50_ovis",
    "ovis/GenVIS_R50": "GenVIS_Online_R50_ovis",
}
# Weights of the losses, which are no part of ours
NOT_OURS = ("criterion.empty_weight",)


@cache
def _build(file: Path) -> VideoModel:
    """A model without memory behind its weights."""
    cfg = get_config(file)
    with torch.device("meta"):
        return META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)(cfg)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda f: f"{f.parent.name}/{f.stem}")
def test_shipped_file_builds(file: Path) -> None:
    model, cfg = _build(file), get_config(file)
    assert model.segmenter.num_classes == cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
    assert model.segmenter.num_queries == cfg.MODEL.MASK_FORMER.NUM_OBJECT_QUERIES
    assert any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("ours", MANIFESTS)
def test_the_released_parameters_learn(ours: str, reference_dir: Path) -> None:
    manifest = reference_dir / "state_dicts" / f"{MANIFESTS[ours]}.json"
    released = {name: e["trainable"] for name, e in json.loads(manifest.read_text()).items()}
    parameters = _build(ROOT / "configs" / f"{ours}.yaml").named_parameters()
    mine = to_official({name: parameter.requires_grad for name, parameter in parameters})
    assert mine == {name: learns for name, learns in released.items() if learns is not None}


@pytest.mark.parametrize("ours", MANIFESTS)
def test_names_and_shapes_are_the_released_ones(ours: str, reference_dir: Path) -> None:
    manifest = reference_dir / "state_dicts" / f"{MANIFESTS[ours]}.json"
    released = json.loads(manifest.read_text())
    mine = to_official(_build(ROOT / "configs" / f"{ours}.yaml").state_dict())
    assert {name: list(value.shape) for name, value in mine.items()} == {
        name: entry["shape"] for name, entry in released.items() if not name.endswith(NOT_OURS)
    }


def test_model_zoo_names_files_that_are_there() -> None:
    rows = re.findall(r"^\| `(\w+/\w+)` \|", (ROOT / "MODEL_ZOO.md").read_text(), re.MULTILINE)
    assert len(rows) > 40
    assert [row for row in rows if not (ROOT / "configs" / f"{row}.yaml").is_file()] == []


def test_a_map_that_the_backbone_does_not_have_is_named() -> None:
    opts = ["MODEL.SEM_SEG_HEAD.IN_FEATURES", "['res9', 'res5']", "MODEL.DEVICE", "cpu"]
    cfg = get_config(ROOT / "configs" / "synthetic" / "MinVIS.yaml", opts)
    with pytest.raises(ConfigError, match=r"IN_FEATURES names res9; the backbone .* has .*res5"):
        META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)(cfg)
