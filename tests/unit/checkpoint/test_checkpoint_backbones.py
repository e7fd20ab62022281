"""Published backbones find their place in a model, and compute there what they computed before."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from timm.models.swin_transformer import SwinTransformer as TimmSwin
from timm.models.vision_transformer import VisionTransformer as TimmViT
from torch import nn

from dvis_daq.checkpoint import CheckpointError, load_state, load_weights, write_weights
from dvis_daq.checkpoint.backbones import place_backbone, resize_patch_kernel
from dvis_daq.segmenter.dinov2 import VisionTransformer
from dvis_daq.segmenter.swin import SwinTransformer
from dvis_daq.segmenter.timm_backbone import TimmBackbone
from dvis_daq.segmenter.vit_adapter import ViTAdapter

WIDTH, DEPTHS, HEADS, WINDOW = 12, (2, 2, 2, 2), (1, 2, 4, 6), 3


class Model(nn.Module):
    """A backbone at its place."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.segmenter = nn.Module()
        self.segmenter.backbone = backbone


def _randomise(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.2)
    return module.eval()


@pytest.fixture
def swin() -> Model:
    return Model(SwinTransformer(embed_dim=WIDTH, depths=DEPTHS, heads=HEADS, window=WINDOW)).eval()


def _released_swin(swin: Model) -> dict[str, np.ndarray]:
    """What the ImageNet file of such a Swin holds: another end, masks as buffers."""
    backbone = _randomise(
        SwinTransformer(embed_dim=WIDTH, depths=DEPTHS, heads=HEADS, window=WINDOW)
    )
    state = {n: w.numpy() for n, w in backbone.state_dict().items() if not n.startswith("norm")}
    width = WIDTH << 3
    return state | {
        "norm.weight": np.ones(width, np.float32),
        "norm.bias": np.zeros(width, np.float32),
        "head.weight": np.ones((1000, width), np.float32),
        "head.bias": np.zeros(1000, np.float32),
        "layers.0.blocks.1.attn_mask": np.zeros((4, 9, 9), np.float32),
    }


def test_swin_pickle_of_mask2former(swin: Model, tmp_path: Path) -> None:
    state = _released_swin(swin)
    file = tmp_path / "swin_tiny.pkl"
    content = {"model": state, "__author__": "third_party", "matching_heuristics": True}
    file.write_bytes(pickle.dumps(content))
    load_weights(swin, file, trains=["segmenter"])
    loaded = swin.segmenter.backbone.state_dict()
    for name in set(loaded) & set(state):
        assert np.array_equal(loaded[name].numpy(), state[name]), name
    left = {name for name in loaded if name not in state}
    assert left == {f"norm{i}.{kind}" for i in range(4) for kind in ("weight", "bias")}


def test_swin_of_timm_computes_the_same(swin: Model, tmp_path: Path) -> None:
    size = 4 * WINDOW * 16  # timm shifts no map of a single window; here all have more
    theirs = _randomise(
        TimmSwin(img_size=size, embed_dim=WIDTH, depths=DEPTHS, num_heads=HEADS, window_size=WINDOW)
    )
    file = tmp_path / "swin.safetensors"
    write_weights(file, theirs.state_dict())
    load_weights(swin, file, trains=["segmenter"])
    images = torch.randn(2, 3, size, size)
    features = theirs.forward_intermediates(images, intermediates_only=True)
    maps = swin.segmenter.backbone(images)
    for (name, image), expected in zip(maps.items(), features, strict=True):
        channels = expected.shape[1]
        normed = nn.functional.layer_norm(expected.permute(0, 2, 3, 1), (channels,))
        torch.testing.assert_close(
            image, normed.permute(0, 3, 1, 2), msg=name, rtol=1e-4, atol=1e-4
        )


@pytest.fixture
def adapter() -> Model:
    vit = VisionTransformer(16, depth=4, heads=2, grid=5)
    return Model(ViTAdapter(vit, heads=2, stem_width=4)).eval()


def _dinov2(**options) -> TimmViT:
    """timm's DINOv2: names and arithmetic of the original."""
    return _randomise(
        TimmViT(img_size=70, patch_size=14, embed_dim=16, depth=4, num_heads=2,
                init_values=1e-5, num_classes=0, **options)
    )  # fmt: skip


def test_dinov2_computes_the_same_at_its_own_grid(adapter: Model, tmp_path: Path) -> None:
    theirs = _dinov2()
    file = tmp_path / "dinov2.pth"
    torch.save(theirs.state_dict() | {"mask_token": torch.zeros(1, 16)}, file)
    load_weights(adapter, file, trains=["segmenter"])
    vit = adapter.segmenter.backbone.vit_module
    patches = torch.randn(2, 3, 70, 70)
    kernel = theirs.patch_embed.proj.weight.data
    torch.testing.assert_close(vit.patch_embed.proj.weight, resize_patch_kernel(kernel, (16, 16)))
    vit.patch_embed.proj = theirs.patch_embed.proj  # the same patches for both
    tokens, grid = vit.embed(patches)
    for block in vit.blocks:
        tokens = block(tokens)
    assert grid == (5, 5)
    torch.testing.assert_close(
        vit.norm(tokens), theirs.forward_features(patches), rtol=1e-4, atol=1e-4
    )


def test_dinov2_without_an_adapter_keeps_its_names(tmp_path: Path) -> None:
    model = Model(VisionTransformer(16, depth=4, heads=2, grid=5))
    file, state = tmp_path / "dinov2.pth", _dinov2().state_dict()
    torch.save(state, file)
    load_weights(model, file, trains=["segmenter"])
    own = model.segmenter.backbone.state_dict()
    kernel = state.pop("patch_embed.proj.weight")
    assert all(torch.equal(own[name], weight) for name, weight in state.items())
    assert torch.equal(own["patch_embed.proj.weight"], resize_patch_kernel(kernel, (16, 16)))


def test_vit_with_registers_is_refused(adapter: Model) -> None:
    state = _dinov2(reg_tokens=4).state_dict()
    with pytest.raises(CheckpointError, match="registers"):
        place_backbone(state, adapter.state_dict())


def test_patch_kernel_keeps_its_corners_and_planes() -> None:
    y, x = torch.meshgrid(torch.linspace(0, 1, 14), torch.linspace(0, 1, 14), indexing="ij")
    resized = resize_patch_kernel((2 * y - x)[None, None], (16, 16))
    y, x = torch.meshgrid(torch.linspace(0, 1, 16), torch.linspace(0, 1, 16), indexing="ij")
    torch.testing.assert_close(resized, (2 * y - x)[None, None], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "swin_tiny_patch4_window7_224"])
def test_whole_model_of_timm_starts_its_feature_extractor(name: str) -> None:
    args = {"img_size": 64} if name.startswith("swin") else {}
    model = Model(TimmBackbone(name, args=args))
    theirs = timm.create_model(name, **args).state_dict()
    placed = place_backbone(theirs, model.state_dict())
    assert set(model.state_dict()) <= set(placed)
    load_state(model, theirs, source="timm", trains=["segmenter"])
    own = model.state_dict()
    assert all(torch.equal(own[name], placed[name]) for name in own)


def test_weights_of_whole_models_pass(swin: Model) -> None:
    state = swin.state_dict()
    assert place_backbone(state, state) is state


def test_strange_weights_pass_for_the_loader_to_refuse(swin: Model) -> None:
    state = {"encoder.weight": torch.zeros(3)}
    assert place_backbone(state, swin.state_dict()) is state
    with pytest.raises(CheckpointError, match="no weight fits"):
        load_state(swin, state, source="file", trains=["segmenter"])
