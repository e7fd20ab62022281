"""Registries and catalogs: contract 4.2, on both sides."""

import uuid

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.layers import ShapeSpec
from detectron2.modeling import (
    BACKBONE_REGISTRY,
    META_ARCH_REGISTRY,
    Backbone,
    build_backbone,
    build_model,
)
from detectron2.utils.registry import Registry


@pytest.fixture
def name() -> str:
    """A name that nobody has registered."""
    return f"dvis_daq_{uuid.uuid4().hex}"


def test_registry() -> None:
    registry = Registry("R")

    @registry.register()
    def foo() -> None: ...

    assert registry.get("foo") is foo and "foo" in registry and dict(registry) == {"foo": foo}
    with pytest.raises(KeyError, match="No object named 'Bar' found in 'R' registry!"):
        registry.get("Bar")
    with pytest.raises(AssertionError, match="An object named 'foo' was already registered in 'R'"):
        registry.register(foo)


def test_a_model_is_any_function_of_cfg(name: str) -> None:
    def recipe(cfg: object) -> torch.nn.Module:
        return torch.nn.Linear(1, 2)

    recipe.__name__ = name
    META_ARCH_REGISTRY.register(recipe)
    cfg = get_cfg()
    cfg.MODEL.META_ARCHITECTURE = name
    cfg.MODEL.DEVICE = "meta"
    assert build_model(cfg).weight.device.type == "meta"


def test_a_backbone_gets_the_channels_of_the_image(name: str) -> None:
    class Tiny(Backbone):
        def __init__(self, cfg: object, input_shape: ShapeSpec) -> None:
            super().__init__()
            self._out_features = ["a"]
            self._out_feature_channels = {"a": input_shape.channels}
            self._out_feature_strides = {"a": 4}

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"a": x}

    Tiny.__name__ = name
    BACKBONE_REGISTRY.register(Tiny)
    cfg = get_cfg()
    cfg.MODEL.BACKBONE.NAME = name
    backbone = build_backbone(cfg)
    assert backbone.output_shape() == {"a": ShapeSpec(channels=3, stride=4)}
    assert backbone.size_divisibility == 0 and backbone.padding_constraints == {}


def test_dataset_catalog(name: str) -> None:
    DatasetCatalog.register(name, lambda: [1, 2])
    assert DatasetCatalog.get(name) == [1, 2]
    assert name in DatasetCatalog and name in DatasetCatalog.list() and name in list(DatasetCatalog)
    with pytest.raises(AssertionError, match=f"Dataset '{name}' is already registered!"):
        DatasetCatalog.register(name, list)
    with pytest.raises(AssertionError):
        DatasetCatalog.register(name + "x", [1, 2])
    with pytest.raises(KeyError, match=name):
        DatasetCatalog.get(name + "x")
    DatasetCatalog.remove(name)
    assert name not in DatasetCatalog
    with pytest.raises(KeyError):
        DatasetCatalog.remove(name)


def test_metadata_catalog(name: str) -> None:
    entry = MetadataCatalog.get(name)
    assert entry.name == name and MetadataCatalog.get(name) is entry
    assert entry.set(thing_classes=["a"], task="vis") is entry
    entry.thing_classes = ["a"]
    with pytest.raises(AssertionError):
        entry.thing_classes = ["b"]
    with pytest.raises(AttributeError, match="thing_classes"):
        _ = entry.colors
    assert entry.get("colors", 1) == 1 and entry.get("task") == "vis"
    assert entry.as_dict() == {"name": name, "thing_classes": ["a"], "task": "vis"}
    assert not hasattr(entry, "colors")
    MetadataCatalog.remove(name)
    assert name not in MetadataCatalog.list()
