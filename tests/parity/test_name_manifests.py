"""The models of the released configurations have the released weights, one to one."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from detectron2.modeling import META_ARCH_REGISTRY

import dvis_daq.recipes  # noqa: F401  registers the models
from dvis_daq.checkpoint import to_official
from dvis_daq.config import get_config
from dvis_daq.official_config import _nest

# manifest -> released configuration
MODELS = {
    "DAQ_Online_R50_ovis": "dvis_daq__ovis__DAQ_Online_R50",
    "DAQ_Online_R50_vipseg": "dvis_daq__vipseg__DAQ_Online_R50",
    "DAQ_Online_SwinL_ovis": "dvis_daq__ovis__DAQ_Online_SwinL",
    "DAQ_Online_VitAdapterL_ovis": "dvis_daq__ovis__vit_adapter__DAQ_Online_VitAdapterL",
    "DAQ_Offline_R50_ovis": "dvis_daq__ovis__DAQ_Offline_R50",
    "DAQ_Offline_VitAdapterL_ovis": "dvis_daq__ovis__vit_adapter__DAQ_Offline_VitAdapterL",
    "MinVIS_R50_ovis": "dvis_Plus__ovis__MinVIS_R50",
    "CTVIS_R50_ovis": "dvis_Plus__ovis__CTVIS_R50",
    "DVIS_Plus_Online_R50_16wIter_ovis": "dvis_Plus__ovis__DVIS_Plus_Online_R50_16wIter",
    "DVIS_Plus_Offline_R50_ovis": "dvis_Plus__ovis__DVIS_Plus_Offline_R50",
}
# Not weights of ours: buffers that are computed, or belong to a loss
COMPUTED = ("criterion.empty_weight", "num_batches_tracked", "relative_position_index", "attn_mask")


@pytest.mark.parametrize("manifest", MODELS)
def test_names_shapes_and_what_learns(manifest: str, reference_dir: Path, tmp_path: Path) -> None:
    released = json.loads((reference_dir / "state_dicts" / f"{manifest}.json").read_text())
    configs = reference_dir / "configs"
    values = json.loads((configs / "defaults.json").read_text())
    values |= json.loads((configs / f"{MODELS[manifest]}.json").read_text())
    file = tmp_path / "released.yaml"
    file.write_text(yaml.safe_dump(_nest(values)))
    cfg = get_config(file)
    with torch.device("meta"):
        model = META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)(cfg)
    ours = to_official(model.state_dict())
    shapes = {name: list(value.shape) for name, value in ours.items() if _is_weight(name)}
    wanted = {name: entry["shape"] for name, entry in released.items() if _is_weight(name)}
    assert shapes == wanted
    learns = to_official({name: p.requires_grad for name, p in model.named_parameters()})
    trainable = {name: entry["trainable"] for name, entry in released.items()}
    assert learns == {name: flag for name, flag in trainable.items() if flag is not None}


def _is_weight(name: str) -> bool:
    return not name.endswith(COMPUTED)
