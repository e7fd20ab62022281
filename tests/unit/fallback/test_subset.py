"""What is special about the bundled subset, and that it keeps to the real library's names."""

import ast
import importlib
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import detectron2
import pytest
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode, get_cfg
from torch import nn

import dvis_daq
from dvis_daq.environment import FALLBACK

lite_only = pytest.mark.skipif(dvis_daq.DETECTRON2.real, reason="about the bundled subset")


def public_names() -> Iterator[tuple[str, list[str]]]:
    """Each public module of the subset with its `__all__`, read without importing it."""
    for file in sorted((FALLBACK / "detectron2").rglob("*.py")):
        parts = file.relative_to(FALLBACK).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        if parts[-1].startswith("_"):
            continue
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
                yield ".".join(parts), ast.literal_eval(node.value)


@pytest.mark.parametrize(("module", "names"), list(public_names()))
def test_names_stand_where_the_real_library_has_them(module: str, names: list[str]) -> None:
    found = importlib.import_module(module)
    assert [name for name in names if not hasattr(found, name)] == []


def test_keys_of_the_config_are_those_of_the_real_library() -> None:
    file = FALLBACK / "detectron2" / "config" / "defaults.py"
    lines = [line for line in file.read_text().splitlines() if line.startswith("_C.")]
    assert len(lines) > 100
    for line in lines:
        key, _, value = line[3:].partition(" = ")
        node = get_cfg()
        for part in key.split("."):
            node = node[part]
        expected = eval(value, {"CfgNode": CfgNode})
        if isinstance(expected, CfgNode):
            assert all(node[name] == default for name, default in expected.items()), key
        else:
            assert node == expected, key


@lite_only
def test_it_says_what_it_is() -> None:
    assert detectron2.__version__ == "0.6+lite" and detectron2.__lite__ is True
    assert str(FALLBACK) in sys.path


@lite_only
def test_absent_names_say_so() -> None:
    with pytest.raises(AttributeError, match="'detectron2.structures.Boxes' is not in the Det"):
        _ = importlib.import_module("detectron2.structures").Boxes
    assert not hasattr(detectron2, "__wrapped__")
    for code in (
        "from detectron2.structures import Boxes",
        "from detectron2 import model_zoo",
        "import detectron2.projects.point_rend",
        "from detectron2.data import transforms",
    ):
        with pytest.raises(ModuleNotFoundError, match="is not in the Detectron2 subset.*install"):
            exec(code)


@lite_only
def test_code_in_yaml_is_never_run(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("SEED: !!python/object/apply:os.getpid []\n")
    child = tmp_path / "child.yaml"
    child.write_text("_BASE_: base.yaml\nVERSION: 2\n")
    for options in ({}, {"allow_unsafe": True}):
        with pytest.raises(ValueError, match=r"base.yaml' has a YAML tag that is not plain data"):
            get_cfg().merge_from_file(str(child), **options)


@lite_only
def test_version_of_the_keys(tmp_path: Path) -> None:
    file = tmp_path / "old.yaml"
    file.write_text("VERSION: 1\n")
    with pytest.raises(ValueError, match=r"old.yaml' has VERSION 1, only 2"):
        get_cfg().merge_from_file(str(file))
    file.write_text("SEED: 4\n")
    cfg = get_cfg()
    cfg.merge_from_file(str(file))
    assert cfg.SEED == 4


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1 + 1",)


@lite_only
@pytest.mark.parametrize("content", [{"model": Evil(), "__author__": "x"}, Evil(), [1]])
def test_pickles_hold_arrays_only(tmp_path: Path, content: object) -> None:
    file = tmp_path / "weights.pkl"
    file.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match="weights.pkl holds"):
        DetectionCheckpointer(nn.Linear(1, 1)).load(str(file))


@lite_only
def test_code_in_a_checkpoint_is_never_run(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    file.write_bytes(pickle.dumps({"model": Evil()}, protocol=2))
    with pytest.raises(pickle.UnpicklingError):
        DetectionCheckpointer(nn.Linear(1, 1)).load(str(file))
