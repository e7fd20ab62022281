"""Mask2Former as the `transformers` library stores it, under the released names.

The COCO checkpoints that are published as safetensors are of this kind.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dvis_daq.checkpoint.names import Renamer

_MARK = "model.transformer_module."

_PREDICTOR = {
    "class_predictor": "class_embed",
    "transformer_module.queries_features": "query_feat",
    "transformer_module.queries_embedder": "query_embed",
    "transformer_module.level_embed": "level_embed",
    "transformer_module.decoder.layernorm": "decoder_norm",
    "transformer_module.decoder.mask_predictor.mask_embedder.{}.0": "mask_embed.layers.{}",
}
_PREDICTOR_LAYER = {
    "cross_attn": "transformer_cross_attention_layers.{}.multihead_attn",
    "cross_attn_layer_norm": "transformer_cross_attention_layers.{}.norm",
    "self_attn": "transformer_self_attention_layers.{}.self_attn",
    "self_attn_layer_norm": "transformer_self_attention_layers.{}.norm",
    "fc1": "transformer_ffn_layers.{}.linear1",
    "fc2": "transformer_ffn_layers.{}.linear2",
    "final_layer_norm": "transformer_ffn_layers.{}.norm",
}
_PIXEL_DECODER = {
    "level_embed": "transformer.level_embed",
    "input_projections": "input_proj",
    "mask_projection": "mask_features",
    "adapter_1.0": "adapter_1",
    "adapter_1.1": "adapter_1.norm",
    "layer_1.0": "layer_1",
    "layer_1.1": "layer_1.norm",
    "encoder.layers.{}.self_attn": "transformer.encoder.layers.{}.self_attn",
    "encoder.layers.{}.self_attn_layer_norm": "transformer.encoder.layers.{}.norm1",
    "encoder.layers.{}.fc1": "transformer.encoder.layers.{}.linear1",
    "encoder.layers.{}.fc2": "transformer.encoder.layers.{}.linear2",
    "encoder.layers.{}.final_layer_norm": "transformer.encoder.layers.{}.norm2",
}
_SWIN = {
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "embeddings.norm": "patch_embed.norm",
    "encoder.layers.{}.downsample": "layers.{}.downsample",
    "hidden_states_norms.stage{}": "norm{-1}",
}
# A block twice: as it is in the files, and as newer versions of the library call it.
_SWIN_BLOCK = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.self.query": "attn.q_proj",
    "attention.self.key": "attn.k_proj",
    "attention.self.value": "attn.v_proj",
    "attention.self.relative_position_bias_table": "attn.relative_position_bias_table",
    "attention.self.relative_position_index": "attn.relative_position_index",
    "attention.output.dense": "attn.proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "attention.relative_position_bias": "attn",
    "attention.o_proj": "attn.proj",
    "attention": "attn",
    "mlp": "mlp",
}
_RESNET = {
    "embedder.embedder.convolution": "stem.conv1",
    "embedder.embedder.normalization": "stem.conv1.norm",
    "encoder.stages.{}.layers.{}.layer.{}.convolution": "res{+2}.{}.conv{+1}",
    "encoder.stages.{}.layers.{}.layer.{}.normalization": "res{+2}.{}.conv{+1}.norm",
    "encoder.stages.{}.layers.{}.shortcut.convolution": "res{+2}.{}.shortcut",
    "encoder.stages.{}.layers.{}.shortcut.normalization": "res{+2}.{}.shortcut.norm",
}


def is_transformers(names: Mapping[str, object]) -> bool:
    """Whether these are names of that library's Mask2Former."""
    return any(name.startswith(_MARK) for name in names)


def from_transformers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the weights to those of Mask2Former, and joins its split projections.

    Args:
        weights: state dict of a `Mask2FormerForUniversalSegmentation` with a Swin or ResNet
            backbone.

    Returns:
        The same weights under released names (`backbone.*`, `sem_seg_head.*`), for
        `from_official`. What only that library has (a last norm of Swin, weights of the
        loss) is left out.
    """
    renamed = {}
    for name, value in weights.items():
        name = name.removeprefix("model.").replace("_module.encoder.swin.", "_module.encoder.")
        new = _RENAMER(name)
        if new is not None:
            renamed[new] = value
    return _join_projections(renamed)


def _below(table: Mapping[str, str], theirs: str, ours: str) -> dict[str, str]:
    return {theirs + old: ours + new for old, new in table.items()}


_BACKBONE = "pixel_level_module.encoder."
_RENAMER = Renamer(
    {
        **_below(_PREDICTOR, "", "sem_seg_head.predictor."),
        **_below(
            _PREDICTOR_LAYER, "transformer_module.decoder.layers.{}.", "sem_seg_head.predictor."
        ),
        **_below(_PIXEL_DECODER, "pixel_level_module.decoder.", "sem_seg_head.pixel_decoder."),
        **_below(_SWIN, _BACKBONE, "backbone."),
        **_below(
            _SWIN_BLOCK, _BACKBONE + "encoder.layers.{}.blocks.{}.", "backbone.layers.{}.blocks.{}."
        ),
        **_below(_RESNET, _BACKBONE, "backbone."),
    }
)


def _join_projections(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Query, key and value projections, three matrices in that library, are one here."""
    for name in [name for name in weights if ".q_proj." in name]:
        parts = [weights.pop(name.replace(".q_proj.", f".{letter}_proj.")) for letter in "qkv"]
        joint = ".in_proj_" if ".self_attn." in name else ".qkv."
        weights[name.replace(".q_proj.", joint)] = torch.cat(parts)
    return weights
