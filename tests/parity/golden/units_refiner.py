"""A tiny refiner, with and without convolution: `units.npz`, `units_baselines.npz`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dvis_daq.refiner import TemporalRefiner
from tests.parity.golden.cases import Arrays, Case

INPUTS = ("instance_embeds", "frame_embeds", "mask_features", "padding")


def refiners(case: Case, dtype: torch.dtype) -> Arrays:
    """No attention uses the recorded padding."""
    arrays = case.inputs(*(f"refiner/{name}" for name in INPUTS))
    inputs = [case.tensor(f"refiner/{name}", dtype) for name in INPUTS[:3]]
    sizes = {"hidden_dim": 32, "mask_dim": 32, "num_classes": 25}
    for variant, local_conv in {"refiner_local": True, "refiner_plain": False}.items():
        refiner = tiny_refiner(case, dtype, local_conv=local_conv, **sizes)
        said = refined(refiner, *inputs, first_layer="train_aux")
        # Recorded before the normalisation of the head, unlike in DVIS++
        said["embeds"] = refiner(*inputs[:2])[-1]
        arrays |= {f"{variant}/{name}": value.numpy() for name, value in said.items()}
    return arrays


def tiny_refiner(case: Case, dtype: torch.dtype, **options: Any) -> TemporalRefiner:
    refiner = TemporalRefiner(layers=2, heads=4, feedforward_dim=64, **options)
    return case.fill(refiner, "refiner.", dtype)


def refined(
    refiner: TemporalRefiner,
    tracks: Tensor,
    candidates: Tensor,
    mask_features: Tensor,
    *,
    first_layer: str,
) -> dict[str, Tensor]:
    """What the last layer says, and the first one in training mode, under `<first_layer>_*`.

    Class logits are of whole tracks; the release repeats them for the T frames.
    """
    layers = refiner.train()(tracks, candidates)
    trained = refiner.predict(layers, mask_features)
    last = refiner.eval()(tracks, candidates)
    predicted = refiner.predict(last, mask_features)
    return {
        "logits": predicted.logits.expand(len(tracks), -1, -1),
        "masks": predicted.masks[-1],
        f"{first_layer}_logits": trained.logits[:1].expand(len(tracks), -1, -1),
        f"{first_layer}_masks": trained.masks[0],
    }
