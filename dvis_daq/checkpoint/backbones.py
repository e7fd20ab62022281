"""Pretrained backbones that were published alone, and their place in a model.

- Swin, as released or as Mask2Former's `.pkl`: the names are ours; `norm` and `head` at the end
  of the classifier have no place.
- Swin of timm: `layers.1.downsample` opens stage 1; ours, `layers.0.downsample`, ends stage 0.
- DINOv2's `.pth`, or timm's `vit_*_patch14_dinov2`: below `vit_module` in an adapter, as they are
  in an encoder-only segmenter; the patch kernel is resized from 14 to 16 pixels.
- A model of timm for `build_timm_backbone`: below `model`, where `stages.0` is `stages_0`.
- ResNet, Detectron2's `.pkl`: the names are ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F

from dvis_daq.checkpoint.files import CheckpointError

_BACKBONE = "segmenter.backbone."
# Below a backbone: itself (Swin, ResNet), the ViT inside its adapter, the model inside timm's.
_PLACES = ("", "vit_module.", "model.")
_PATCH_KERNEL = "patch_embed.proj.weight"
_POSITIONS = "pos_embed"  # a plain ViT has one
_REGISTERS = ("register_tokens", "reg_token")
# Classifiers of ImageNet, and Swin's norm before it; a ViT's `norm` has a place and stays.
_CLASSIFIER = re.compile(r"(.*\.)?(fc|head)\.(weight|bias)")
_LAST_NORM = re.compile(r"norm\.(weight|bias)")


def place_backbone(given: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Gives the weights of a bare backbone their names in a model.

    Args:
        given: weights by name; those of whole models pass as they are.
        own: weights of the model.

    Returns:
        `given`, or the same under our names, without classifiers and with the patch kernel of
        a ViT at the model's size.

    Raises:
        CheckpointError: a ViT with register tokens, which this package's ViT has not.
    """
    if any(name in own for name in given):
        return given
    inside = {_plain(n.removeprefix(_BACKBONE)): n for n in own if n.startswith(_BACKBONE)}
    weights = {name: value for name, value in given.items() if not _CLASSIFIER.fullmatch(name)}

    def fits(place: str) -> int:
        return sum(place + name in inside for name in weights)

    place = max(_PLACES, key=fits)
    if not fits(place):
        return given
    if _POSITIONS in weights and place != "model.":
        weights = _resized_vit(weights, own[_BACKBONE + place + _PATCH_KERNEL])
    elif place == "":
        weights = _swin_from_timm(weights)
    placed = {inside.get(place + n, _BACKBONE + place + n): w for n, w in weights.items()}
    return {
        name: weight
        for name, weight in placed.items()
        if name in own or not _LAST_NORM.fullmatch(name.removeprefix(_BACKBONE + place))
    }


def resize_patch_kernel(kernel: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, corner on corner, as the released models were started.

    Args:
        kernel: (C, 3, h, w).
        size: of the result, pixels.
    """
    if kernel.shape[-2:] == size:
        return kernel
    return F.interpolate(kernel.float(), size, mode="bilinear", align_corners=True).to(kernel.dtype)


def _resized_vit(weights: dict[str, Tensor], kernel: Tensor) -> dict[str, Tensor]:
    registers = [name for name in weights if name in _REGISTERS]
    if registers:
        raise CheckpointError(
            f"these weights are of a ViT with registers ({registers[0]}), which would be missing "
            "here; take the DINOv2 file without `reg` in its name"
        )
    patches = weights.get(_PATCH_KERNEL)
    if patches is None:
        return weights
    height, width = kernel.shape[-2:]
    return weights | {_PATCH_KERNEL: resize_patch_kernel(patches, (height, width))}


def _swin_from_timm(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """timm merges patches at the start of a stage, the release at the end of the one before."""
    merging = re.compile(r"layers\.(\d+)\.(downsample\..*)")
    found = [match for match in map(merging.fullmatch, weights) if match]
    if not found or any(match[1] == "0" for match in found):
        return weights
    return {
        merging.sub(lambda match: f"layers.{int(match[1]) - 1}.{match[2]}", name): weight
        for name, weight in weights.items()
    }


def _plain(name: str) -> str:
    """A name in a timm feature extractor, which joins the names of sequences, as in timm itself."""
    return re.sub(r"^(model\.\w*?)_(\d+)\.", r"\1.\2.", name)
