"""Mask2Former checkpoints of `transformers`: every weight finds its name and shape."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from dvis_daq.checkpoint import from_transformers, is_transformers

transformers = pytest.importorskip("transformers")

STAGES = ["stage1", "stage2", "stage3", "stage4"]


def _theirs(backbone: Any, queries: int) -> dict[str, torch.Tensor]:
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone, num_queries=queries, num_labels=25
    )
    with torch.device("meta"):
        return transformers.Mask2FormerForUniversalSegmentation(config).state_dict()


def _released(file: Path) -> dict[str, list[int]]:
    """Names and shapes of the segmenter, without what Mask2Former itself does not have."""
    return {
        name: entry["shape"]
        for name, entry in json.loads(file.read_text()).items()
        if name.startswith(("backbone.", "sem_seg_head.")) and "reid_embed" not in name
    }


def _shapes(weights: dict[str, torch.Tensor]) -> dict[str, list[int]]:
    return {name: list(value.shape) for name, value in weights.items()}


def test_resnet(reference_dir: Path) -> None:
    weights = from_transformers(_theirs(transformers.ResNetConfig(out_features=STAGES), 100))
    ours = {n: shape for n, shape in _shapes(weights).items() if "num_batches" not in n}
    assert ours == _released(reference_dir / "state_dicts/MinVIS_R50_ovis.json")


@pytest.mark.parametrize("as_in_files", [False, True])
def test_swin_in_both_spellings(reference_dir: Path, as_in_files: bool) -> None:
    backbone = transformers.SwinConfig(
        embed_dim=192, depths=[2, 2, 18, 2], num_heads=[6, 12, 24, 48], window_size=12,
        out_features=STAGES,
    )  # fmt: skip
    theirs = _theirs(backbone, 200)
    if as_in_files:
        theirs = {_file_spelling(name): value for name, value in theirs.items()}
    released = _released(reference_dir / "state_dicts/DAQ_Online_SwinL_ovis.json")
    constants = {name for name in released if "relative_position_index" in name}
    weights = {n: s for n, s in _shapes(from_transformers(theirs)).items() if n not in constants}
    assert weights == {n: s for n, s in released.items() if n not in constants}


def _file_spelling(name: str) -> str:
    for new, old in (
        ("encoder.swin.", "encoder."),
        ("attention.relative_position_bias.", "attention.self."),
        ("attention.o_proj.", "attention.output.dense."),
        ("mlp.fc1.", "intermediate.dense."),
        ("mlp.fc2.", "output.dense."),
    ):
        name = name.replace(new, old)
    if "blocks" in name:
        for letter, word in (("q", "query"), ("k", "key"), ("v", "value")):
            name = name.replace(f"attention.{letter}_proj", f"attention.self.{word}")
    return name


def test_projections_are_joined_in_order() -> None:
    prefix = "model.transformer_module.decoder.layers.3.self_attn."
    parts = {
        f"{prefix}{letter}_proj.bias": torch.full((2,), float(i)) for i, letter in enumerate("qkv")
    }
    joined = from_transformers(parts)
    assert list(joined) == [
        "sem_seg_head.predictor.transformer_self_attention_layers.3.self_attn.in_proj_bias"
    ]
    assert next(iter(joined.values())).tolist() == [0, 0, 1, 1, 2, 2]


def test_other_checkpoints_are_left_alone() -> None:
    assert not is_transformers({"sem_seg_head.predictor.query_feat.weight": 0})
