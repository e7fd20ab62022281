"""The segmenter, map by map and layer by layer: `segmenter_*.npz`."""

from __future__ import annotations

import torch
from torch import Tensor

from dvis_daq.structures import FrameOutputs
from tests.parity.golden.cases import Arrays, Case
from tests.parity.golden.training import recorded

FIRST = 64  # channels, and values of a frame, that are recorded of a map


@torch.no_grad()
def segmenter(case: Case, dtype: torch.dtype) -> Arrays:
    """Maps and candidates in evaluation mode; in training mode the layers before the last."""
    model = case.model(dtype).segmenter
    images = case.images(dtype, case.entry["frames"])
    with (
        recorded(model.backbone, "forward") as seeing,
        recorded(model.sem_seg_head.pixel_decoder, "forward") as decoding,
    ):
        frames = model(images)
    [((image,), maps)] = seeing
    [(_, decoded)] = decoding
    arrays = {
        "input_first_pixels": image[0, :, 0, :8].numpy(),
        "res5_frame0": maps["res5"][0].numpy(),
        "mask_features_frame0": decoded.mask_features[0].numpy(),
        "aux_logits_frame0": model.train()(images[:1]).deep_logits[:-1, 0].numpy(),
    }
    for name, values in maps.items():
        arrays |= {f"{name}_{key}": value for key, value in _summary(values).items()}
    for index, level in enumerate(decoded.levels):
        arrays[f"multi_scale_{index}_frame0"] = level[0].numpy()
    return arrays | _candidates(frames)


def _summary(values: Tensor) -> Arrays:
    flat = values.flatten(1)
    return {
        "mean": values[:, :FIRST].mean((2, 3)).numpy(),
        "std": flat.std(1, correction=0).numpy(),
        "head": flat[:, :FIRST].numpy(),
    }


def _candidates(frames: FrameOutputs) -> Arrays:
    return {
        "pred_logits": frames.logits.numpy(),
        "pred_embds": frames.embeds.numpy(),
        "pred_reid_embed": frames.reid.numpy(),
        "pred_embds_without_norm_frame0": frames.raw_embeds[0].numpy(),
        "pred_masks_frame0": frames.masks[0].numpy(),
    }
