"""Every task from data on disk to the file for a server: train, evaluate, pack; two processes."""

import argparse
import json
import logging
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.utils import comm

import dvis_daq.recipes  # noqa: F401  registers the methods
from dvis_daq.checkpoint import load_weights
from dvis_daq.config import get_config
from dvis_daq.data.synthetic import Recipe, write_dataset
from dvis_daq.engine import launch
from dvis_daq.engine.evaluate import evaluate
from dvis_daq.engine.setup import build_model
from tests.conftest import ROOT
from tests.tools.scripts import load_script

TASKS = ("vis", "vps", "vss", "vos")
LENGTH, VIDEOS = 8, 3

# Keys of DATASETS.CUSTOM, by task: of the training and of the validation split.
FILES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "vis": tuple({"JSON": f"{s}.json", "IMAGES": s} for s in ("train", "val")),
    "vps": tuple(
        {"JSON": f"panoptic_gt_VIPSeg_{s}.json", "IMAGES": "images", "MASKS": "panomasksRGB"}
        for s in ("train", "val")
    ),
    "vss": tuple(
        {"SPLIT": f"{s}.txt", "IMAGES": "data", "CATEGORIES": "categories.json"}
        for s in ("train", "val")
    ),
    "vos": tuple(
        {"JSON": f"{s}/{s}.json", "IMAGES": f"{s}/JPEGImages", "MASKS": f"{s}/Annotations"}
        for s in ("train", "valid")
    ),
}  # fmt: skip
CLASSES = {"vis": 5, "vps": 7, "vss": 7, "vos": 1}
MAIN_FIGURE = {"vis": "AP", "vps": "VPQ", "vss": "mIoU", "vos": "J&F"}
PACKED = {
    "vis": {"results.json"},
    "vps": {"pred.json", "pan_pred/val_0000/00000.png"},
    "vss": {"val_0000/00000.png"},
    "vos": {"0000/00000.png"},
}


def write_config(task: str, folder: Path) -> Path:
    """Data of a task in its format on disk, and a model that is tiny."""
    recipe = Recipe(
        format=task, height=32, width=48, frames=LENGTH, train=2, val=VIDEOS, min_visible=4
    )
    for _ in write_dataset(recipe, folder / "data"):
        pass
    names = [f"{task}_{split}_{folder.name}" for split in ("train", "val")]
    custom = [
        {"NAME": name, "TASK": task} | {k: str(folder / "data" / path) for k, path in files.items()}
        for name, files in zip(names, FILES[task], strict=True)
    ]
    config = {
        "_BASE_": str(ROOT / "configs/synthetic/MinVIS.yaml"),
        "VERSION": 2,
        "MODEL": {
            "TASK": task,
            "SEM_SEG_HEAD": {
                "NUM_CLASSES": CLASSES[task],
                "NUM_THINGS": 5,
                "CONVS_DIM": 32,
                "MASK_DIM": 32,
            },
            "MASK_FORMER": {
                "NUM_OBJECT_QUERIES": 6,
                "HIDDEN_DIM": 32,
                "DIM_FEEDFORWARD": 32,
                "DEC_LAYERS": 2,
                # a model that has learned nothing is never sure
                "TEST": {"OBJECT_MASK_THRESHOLD": 0.0, "OVERLAP_THRESHOLD": 0.0},
            },
        },
        "DATASETS": {"TRAIN": names[:1], "TEST": names[1:], "CUSTOM": custom},
        "INPUT": {"MIN_SIZE_TRAIN": [32], "MIN_SIZE_TEST": 32},
        "SOLVER": {"MAX_ITER": 2, "IMS_PER_BATCH": 2, "WARMUP_ITERS": 0},
        "OUTPUT_DIR": str(folder / "output"),
    }
    path = folder / f"{task}.yaml"
    path.write_text(json.dumps(config))  # json is YAML
    return path


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By task, the configuration of a model that has been trained for it."""
    files = {task: write_config(task, tmp_path_factory.mktemp(task)) for task in TASKS}
    for file in files.values():
        load_script("tools/train_net.py").cli(["--config-file", str(file)])
    return files


@pytest.fixture(params=TASKS)
def trained(request: pytest.FixtureRequest, configs: dict[str, Path]) -> tuple[str, Path]:
    return request.param, configs[request.param]


@pytest.fixture(autouse=True)
def _quiet_loggers() -> Iterator[None]:
    """The handlers that a run installs end with its test."""
    yield
    for name in ("detectron2", "fvcore", "dvis_daq"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True


def weights_of(config: Path) -> str:
    return str(config.parent / "output" / "model_final.safetensors")


def test_train_evaluate_submit(trained: tuple[str, Path], tmp_path: Path) -> None:
    task, config = trained
    target, out = tmp_path / "submission.zip", tmp_path / "out.json"
    load_script("tools/eval.py").main(
        [
            *("--config-file", str(config), "--weights", weights_of(config)),
            *("--submission", str(target), "--json", str(out), "--workers", "1"),
        ]
    )
    figures = json.loads(out.read_text())
    assert 0 <= figures[MAIN_FIGURE[task]] <= 1
    assert figures["counts"]["videos"] == VIDEOS
    with zipfile.ZipFile(target) as archive:
        names = set(archive.namelist())
        assert PACKED[task] <= names
        pngs = [name for name in names if name.endswith(".png")]
        assert len(pngs) == (0 if task == "vis" else VIDEOS * LENGTH) or task == "vos"
        assert archive.testzip() is None


def evaluate_all(args: argparse.Namespace) -> None:
    """What each process does: evaluates every task."""
    for config in args.configs:
        cfg = get_config(config, ["OUTPUT_DIR", str(args.output / config.stem)])
        model = build_model(cfg)
        load_weights(model, weights_of(config))
        figures = evaluate(cfg, model)
        assert bool(figures) == comm.is_main_process()
        if figures:
            Path(cfg.OUTPUT_DIR, "figures.json").write_text(json.dumps(figures))


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU, launch takes one each")
def test_two_processes_give_the_figures_of_one(configs: dict[str, Path], tmp_path: Path) -> None:
    args = argparse.Namespace(num_machines=1, machine_rank=0, dist_url="auto")
    args.configs = list(configs.values())
    for count in (1, 2):
        args.num_gpus, args.output = count, tmp_path / str(count)
        launch.run(evaluate_all, args, device="cpu")
    one, two = (tree(tmp_path / str(n)) for n in (1, 2))
    assert one == two
    assert len([name for name in one if name.name == "figures.json"]) == len(TASKS)
    assert len([name for name in one if name.suffix == ".png"]) > 2 * VIDEOS * LENGTH


def tree(folder: Path) -> dict[Path, bytes]:
    """All files under a folder that results consist of."""
    kinds = (".json", ".png")
    files = [path for path in folder.rglob("*") if path.suffix in kinds]
    return {path.relative_to(folder): path.read_bytes() for path in files}


def test_data_of_another_task(trained: tuple[str, Path], tmp_path: Path) -> None:
    task, config = trained
    other = "vis" if task != "vis" else "vss"
    options: list[Any] = ["MODEL.TASK", other, "OUTPUT_DIR", str(tmp_path)]
    with pytest.raises(SystemExit, match=f"is for the task {task}, MODEL.TASK is {other}"):
        load_script("tools/eval.py").main(
            ["--config-file", str(config), "--weights", weights_of(config), *options]
        )
