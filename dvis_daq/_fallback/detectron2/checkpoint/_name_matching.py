"""Weights under other names: with another prefix, or named by caffe2."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

__all__ = ["backbone_names", "match_names"]

_CAFFE2_NAME = re.compile(
    r"(?:res(?P<stage>[2-5])_(?P<block>\d+)_branch(?P<branch>1|2a|2b|2c)|(?:res_)?conv1)"
    r"(?P<norm>_bn)?_(?P<kind>[wbs])"
)
_CAFFE2_BRANCH = {"1": "shortcut", "2a": "conv1", "2b": "conv2", "2c": "conv3"}


def match_names(
    model_state: Mapping[str, Tensor], weights: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Renames weights to the names of the model they are a suffix of.

    A name of the model takes the longest name among the weights that equals it or is its end
    after a dot. Weights that match nothing, or not in shape, keep their name.

    Args:
        model_state: names and tensors of the model.
        weights: names and tensors to load.

    Raises:
        ValueError: two names of the model claim the same weight.
    """
    sources: dict[str, str] = {}  # name of a weight -> name in the model
    for name, tensor in model_state.items():
        source = next((suffix for suffix in _suffixes(name) if suffix in weights), None)
        if source is None:
            continue
        if weights[source].shape != tensor.shape:
            logging.getLogger(__name__).warning(
                "Skip '%s': shape %s in the checkpoint but %s of '%s' in the model",
                source,
                tuple(weights[source].shape),
                tuple(tensor.shape),
                name,
            )
            continue
        if source in sources:
            raise ValueError(f"'{source}' of the checkpoint fits '{sources[source]}' and '{name}'")
        sources[source] = name
    return {sources.get(source, source): tensor for source, tensor in weights.items()}


def _suffixes(name: str) -> list[str]:
    """`a.b.c`, `b.c`, `c`."""
    parts = name.split(".")
    return [".".join(parts[start:]) for start in range(len(parts))]


def backbone_names(blobs: Mapping[str, Any]) -> dict[str, Any]:
    """Renames a caffe2 ResNet, `res2_0_branch2a_bn_s` to `res2.0.conv1.norm.weight`.

    Its batch norms are affine maps; other entries, such as momenta of the optimizer, are left out.
    """
    return {
        _from_caffe2(match): blob
        for name, blob in blobs.items()
        if (match := _CAFFE2_NAME.fullmatch(name))
    }


def _from_caffe2(match: re.Match[str]) -> str:
    conv = "stem.conv1"
    if match["stage"]:
        conv = f"res{match['stage']}.{match['block']}.{_CAFFE2_BRANCH[match['branch']]}"
    kind = "bias" if match["kind"] == "b" else "weight"
    return f"{conv}.norm.{kind}" if match["norm"] else f"{conv}.{kind}"
