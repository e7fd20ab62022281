"""Names of weights: the released spelling and ours.

The segmenter keeps the names that the whole field uses (Mask2Former's). The tracker and the
refiner, which only this method has, carry the paper's words; `OFFICIAL_NAMES` is the whole
difference to a released checkpoint, row by row. The mapping belongs to the model, not to a
loader: `register_official_names` makes `load_state_dict` accept both spellings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import nn

from dvis_daq.checkpoint.files import CheckpointError

Value = TypeVar("Value")

# released name -> our name; {} is the number of a layer; what follows a row stays as it is.
# The trackers of DVIS-DAQ and DVIS++ share released names, so they share ours. GenVIS calls
# what tracks `vita_module`.
OFFICIAL_NAMES: dict[str, str] = {
    "backbone": "segmenter.backbone",
    "sem_seg_head": "segmenter.sem_seg_head",
    "tracker.transformer_cross_attention_layers.{}": "tracker.emergence.layers.{}.cross_attn",
    "tracker.transformer_self_attention_layers.{}": "tracker.emergence.layers.{}.self_attn",
    "tracker.transformer_ffn_layers.{}": "tracker.emergence.layers.{}.ffn",
    "tracker.slot_cross_attention_layers.{}": "tracker.disappearance.layers.{}.cross_attn",
    "tracker.slot_ffn_layers.{}": "tracker.disappearance.layers.{}.ffn",
    "tracker.new_ins_embeds": "tracker.emergence_query",
    "tracker.bg_slots": "tracker.background_queries",
    "tracker.pos_embed": "tracker.appearance_mlp",
    "tracker.ref_proj": "tracker.reference_mlp",
    "tracker.decoder_norm": "tracker.head.norm",
    "tracker.class_embed": "tracker.head.class_embed",
    "tracker.mask_embed": "tracker.head.mask_embed",
    "vita_module.input_proj_dec": "tracker.clip.candidate_proj",
    "vita_module.enc_self_attn.{}": "tracker.clip.encoder.layers.{}.self_attn",
    "vita_module.enc_ffn.{}": "tracker.clip.encoder.layers.{}.ffn",
    "vita_module.transformer_cross_attention_layers.{}": (
        "tracker.clip.decoder.layers.{}.cross_attn"
    ),
    "vita_module.transformer_self_attention_layers.{}": "tracker.clip.decoder.layers.{}.self_attn",
    "vita_module.transformer_ffn_layers.{}": "tracker.clip.decoder.layers.{}.ffn",
    "vita_module.vita_mask_features": "tracker.clip.feature_proj",
    "vita_module.decoder_norm": "tracker.clip.head.norm",
    "vita_module.class_embed": "tracker.clip.head.class_embed",
    "vita_module.mask_embed": "tracker.clip.head.mask_embed",
    "vita_module.sim_embed_frame": "tracker.clip.candidate_similarity",
    "vita_module.sim_embed_clip": "tracker.clip.row_similarity",
    "vita_module.query_feat": "tracker.clip_queries",
    "vita_module.query_embed": "tracker.clip_positions",
    "vita_module.fq_pos": "tracker.candidate_positions",
    "vita_module.pre_memory_embed_k": "tracker.memory.key",
    "vita_module.pre_memory_embed_v": "tracker.memory.value",
    "vita_module.pre_query_embed_k": "tracker.memory.ask",
    "vita_module.pre_query_embed_v": "tracker.memory.keep",
    "refiner.transformer_time_self_attention_layers.{}": "refiner.layers.{}.time_attn",
    "refiner.conv_short_aggregate_layers.{}": "refiner.layers.{}.time_conv",
    "refiner.conv_norms.{}": "refiner.layers.{}.time_conv_norm",
    "refiner.transformer_obj_self_attention_layers.{}": "refiner.layers.{}.object_attn",
    "refiner.transformer_cross_attention_layers.{}": "refiner.layers.{}.cross_attn",
    "refiner.transformer_ffn_layers.{}": "refiner.layers.{}.ffn",
    "refiner.decoder_norm": "refiner.head.norm",
    "refiner.class_embed": "refiner.head.class_embed",
    "refiner.mask_embed": "refiner.head.mask_embed",
    "refiner.activation_proj": "refiner.frame_weight",
}

# Released entries that are no weights of ours: weights of the loss, pixel statistics (config).
_NOT_WEIGHTS = re.compile(r"(\w*criterion\..*|pixel_(mean|std))")
# Older Mask2Former checkpoints spell the learned query features so.
_OLD_QUERIES = ("sem_seg_head.predictor.static_query.", "sem_seg_head.predictor.query_feat.")


def from_official(mapping: Mapping[str, Value]) -> dict[str, Value]:
    """Renames the keys of a released or foreign checkpoint to ours, whatever the values.

    Keys that already have our names pass; weights of the losses and pixel statistics are
    dropped.

    Raises:
        CheckpointError: two keys get the same name.
    """
    kept = {key: value for key, value in mapping.items() if not _NOT_WEIGHTS.fullmatch(key)}
    return _rename(kept, _to_ours)


def to_official(mapping: Mapping[str, Value]) -> dict[str, Value]:
    """Renames our keys to those of the release; the inverse of `from_official`."""
    return _rename(mapping, _to_official)


def register_official_names(model: nn.Module) -> None:
    """Lets `model.load_state_dict` accept released names beside our own.

    The model has the parts `segmenter`, `tracker`, `refiner`, or some of them.
    """
    model.register_load_state_dict_pre_hook(_accept_official)


class Renamer:
    """Renames the head of a name by a table of whole words; the tail stays.

    Args:
        table: name -> new name. `{}` stands for a number; in the new name `{+1}` is that
            number plus one.
    """

    def __init__(self, table: Mapping[str, str]) -> None:
        self._rows = [
            (re.compile(re.escape(old).replace(r"\{\}", r"(\d+)") + r"(?=\.|$)"), new)
            for old, new in table.items()
        ]

    def __call__(self, name: str) -> str | None:
        """The new name; None if no row fits."""
        for pattern, new in self._rows:
            match = pattern.match(name)
            if match is not None:
                numbers = map(int, match.groups())
                head = _NUMBER.sub(lambda m: str(next(numbers) + int(m[1] or 0)), new)  # noqa: B023
                return head + name[match.end() :]
        return None


_NUMBER = re.compile(r"\{([+-]\d+)?\}")
_TO_OURS = Renamer(OFFICIAL_NAMES)
_TO_OFFICIAL = Renamer({ours: official for official, ours in OFFICIAL_NAMES.items()})


def _to_ours(name: str) -> str:
    name = name.replace(*_OLD_QUERIES)
    return _TO_OURS(name) or name


def _to_official(name: str) -> str:
    return _TO_OFFICIAL(name) or name


def _rename(mapping: Mapping[str, Value], rename: Callable[[str], str]) -> dict[str, Value]:
    renamed: dict[str, Value] = {}
    sources: dict[str, str] = {}
    for key, value in mapping.items():
        name = rename(key)
        if name in renamed:
            raise CheckpointError(f"{sources[name]} and {key} are both the weight {name}")
        renamed[name], sources[name] = value, key
    return renamed


def _accept_official(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Load hook: renames, in place, what lies under the prefix of the model."""
    inside = {k.removeprefix(prefix): k for k in state_dict if k.startswith(prefix)}
    renamed = from_official({name: state_dict[key] for name, key in inside.items()})
    for key in inside.values():
        del state_dict[key]
    state_dict.update({prefix + name: value for name, value in renamed.items()})
