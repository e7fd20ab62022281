"""Imports only go down, cfg stays at the doors, and the use of Detectron2 stays small."""

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "dvis_daq"
FILES = [f for f in sorted(PACKAGE.rglob("*.py")) if "_fallback" not in f.parts]

# A module may import from lower floors, and from its own folder.
FLOORS = {
    "version": 0, "environment": 0, "program_errors": 0, "freed_memory": 0,
    "structures": 1, "checkpoint": 1, "checkpoint_io": 1, "official_config": 1,
    "config_files": 1, "config_checks": 1, "config": 2,
    "metrics": 1, "visualization": 1,
    "layers": 2, "tasks": 2, "tracks": 3, "data": 3, "evaluation": 3,
    "segmenter": 3, "tracker": 3,
    "refiner": 4, "training": 4,
    "model": 5, "variants": 5, "engine": 6,
    "recipes": 6, "streaming": 6,
    "predictor": 7, "demo": 7, "report": 7, "workbench": 7,
}  # fmt: skip
# Same floor, no sight of each other; and the four nevers.
FORBIDDEN = [
    ("segmenter", "tracker"), ("tracker", "segmenter"), ("model", "engine"), ("engine", "model"),
    ("engine", "recipes"), ("recipes", "engine"), ("data", "evaluation"),
    ("tasks", "model"), ("metrics", "model"), ("data", "model"), ("tracker", "data"),
]  # fmt: skip

CFG_DOORS = ("recipes/", "config.py", "config_checks.py", "official_config.py",
             "data/loader.py", "engine/", "segmenter/timm_backbone.py", "segmenter/swin.py", "segmenter/vit_adapter.py",
             "segmenter/encoder_only.py",
             "predictor.py", "workbench/")  # fmt: skip

DETECTRON2 = {
    "detectron2.config": {"CfgNode", "get_cfg"},
    "detectron2.data": {"DatasetCatalog", "MetadataCatalog", "build_detection_train_loader",
                        "build_detection_test_loader"},
    "detectron2.data.samplers": {"TrainingSampler"},
    "detectron2.engine": {"TrainerBase", "HookBase", "hooks", "default_argument_parser",
                          "default_setup", "launch", "default_writers", "create_ddp_model"},
    "detectron2.evaluation": {"DatasetEvaluator", "inference_on_dataset", "print_csv_format"},
    "detectron2.checkpoint": {"DetectionCheckpointer"},
    "detectron2.modeling": {"META_ARCH_REGISTRY", "BACKBONE_REGISTRY", "Backbone",
                            "build_backbone", "build_model"},
    "detectron2.layers": {"ShapeSpec", "FrozenBatchNorm2d"},
    "detectron2.structures": {"ImageList"},
    "detectron2.utils": {"comm"},
    "detectron2.utils.events": {"get_event_storage", "EventStorage", "CommonMetricPrinter",
                                "JSONWriter", "TensorboardXWriter"},
    "detectron2.utils.logger": {"setup_logger"},
}  # fmt: skip


def _imports(file: Path) -> list[tuple[str, list[str]]]:
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.append((node.module, [alias.name for alias in node.names]))
        elif isinstance(node, ast.Import):
            found += [(alias.name, []) for alias in node.names]
    return found


def _part(dotted: str) -> str | None:
    pieces = dotted.split(".")
    return pieces[1] if pieces[0] == "dvis_daq" and len(pieces) > 1 else None


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_go_down(file):
    here = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if here == "__init__":
        return
    for module, _ in _imports(file):
        there = _part(module)
        if there is None or there == here:
            continue
        assert FLOORS[there] <= FLOORS[here], f"{here} (floor {FLOORS[here]}) imports {module}"
        assert (here, there) not in FORBIDDEN, f"{here} must not know {there}"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_detectron2_names_are_on_the_list(file):
    for module, names in _imports(file):
        if module.split(".")[0] != "detectron2" or file.name == "environment.py":
            continue
        assert module in DETECTRON2, f"{file.name} imports {module}"
        assert set(names) <= DETECTRON2[module], f"{file.name} imports {names} from {module}"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_cfg_stops_at_the_door(file):
    name = file.relative_to(PACKAGE).as_posix()
    if name.startswith(CFG_DOORS):
        return
    reads = [
        node.lineno
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        and node.value.id == "cfg"
    ]  # fmt: skip
    assert reads == [], f"{name} reads cfg in lines {reads}"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_no_device_is_named(file):
    literals = [
        node.lineno
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and node.value == "cuda"
        or isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        and node.func.attr == "cuda"
    ]  # fmt: skip
    assert literals == [], f"{file.name} names a device in lines {literals}"
