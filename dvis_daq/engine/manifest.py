"""What a run was: `manifest.json` in its output folder, enough to judge it or to repeat it."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import HookBase
from detectron2.utils import comm

import dvis_daq
from dvis_daq.checkpoint import write_atomically
from dvis_daq.data import datasets

logger = logging.getLogger(__name__)

_PACKAGES = ("torch", "torchvision", "numpy", "scipy", "timm", "fvcore", "pycocotools",
             "opencv-python-headless", "av", "safetensors")  # fmt: skip
_MAX_DIFF = 2**22  # bytes


class Manifest(HookBase):
    """Writes the manifest when a training begins, and its figures when it ends.

    A resumed run keeps the earlier starts under `earlier`.

    Args:
        cfg: the whole configuration.
        start_files: weights that the training starts from, '' for none.
    """

    def __init__(self, cfg: CfgNode, start_files: str = "") -> None:
        self._cfg = cfg
        self._weights = start_files
        self._file = Path(cfg.OUTPUT_DIR, "manifest.json")
        self._content: dict[str, Any] = {}

    def before_train(self) -> None:
        self._content = {
            "status": "running",
            "start_iteration": self.trainer.iter,
            **describe_run(self._cfg, self._weights),
            "earlier": self._earlier(),
        }
        self._write()

    def after_train(self) -> None:
        done, all_of_them = self.trainer.iter, self.trainer.max_iter
        finished = done == all_of_them
        latest = self.trainer.storage.latest()
        self._content["status"] = "finished" if finished else f"ended in iteration {done}"
        self._content["ended"] = _now()
        self._content["figures"] = {name: value for name, (value, _) in latest.items()}
        self._write()

    def _earlier(self) -> list[dict[str, Any]]:
        if not self._file.is_file():
            return []
        try:
            before = json.loads(self._file.read_text())
        except ValueError as error:
            logger.warning("%s: damaged (%s); it is written anew", self._file, error)
            return []
        return [*before.pop("earlier", []), before]

    def _write(self) -> None:
        content = json.dumps(self._content, indent=2, default=str).encode()
        write_atomically(self._file, lambda file: file.write(content))


def with_seed(cfg: CfgNode, *, resume: bool) -> CfgNode:
    """The configuration with a `SEED`: drawn, or that of the run which is resumed, if it is -1.

    A collective call.
    """
    if cfg.SEED >= 0:
        return cfg
    seed = comm.shared_random_seed()
    file = Path(cfg.OUTPUT_DIR, "manifest.json")
    if resume and file.is_file():
        seed = json.loads(file.read_text())["seed"]["SEED"]
    cfg = cfg.clone()
    cfg.defrost()
    cfg.SEED = seed
    cfg.freeze()
    return cfg


def describe_run(cfg: CfgNode, weights: str = "") -> dict[str, Any]:
    """Command, versions, git state, seeds, and fingerprints of what is read.

    A work tree with changes leaves them as `uncommitted.diff` in the output folder.

    Args:
        cfg: the whole configuration.
        weights: a file, or ''.
    """
    names = dict.fromkeys([*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST])
    digest = hashlib.sha256(cfg.dump().encode()).hexdigest()
    return {
        "started": _now(),
        "command": shlex.join([sys.executable, *sys.argv]),
        "folder": os.getcwd(),
        "config": {"file": "config.yaml", "sha256": digest},
        "versions": _versions(),
        "git": _git(Path(dvis_daq.__file__).parents[1], Path(cfg.OUTPUT_DIR)),
        "seed": {"SEED": cfg.SEED, "of_process": "SEED + rank"},
        "processes": comm.get_world_size(),
        "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "host": platform.node(),
        "weights": _file(Path(weights)) if weights else None,
        "data": {name: data_fingerprint(name) for name in names},
    }


def data_fingerprint(name: str) -> dict[str, Any]:
    """What tells one version of a registered data set from another.

    The annotation file as a whole; of the frames, the names of the folders and the sizes of the
    first file in each, since reading all of them takes too long.
    """
    try:
        json_file, images = datasets.files(name)
    except ValueError as error:  # of another program
        return {"unknown": str(error)}
    folders = hashlib.sha256()
    count = 0
    for line in _first_files(images):
        folders.update(line.encode())
        count += 1
    frames = {"root": str(images), "folders": count, "sha256": folders.hexdigest()}
    return {"annotations": _file(json_file), "frames": frames}


def _first_files(root: Path) -> Iterator[str]:
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        first = min((path for path in folder.iterdir() if path.is_file()), default=None)
        size = first.stat().st_size if first else 0
        yield f"{folder.name}/{first.name if first else ''} {size}\n"


def _file(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while piece := file.read(2**22):
            digest.update(piece)
    return {"file": str(path), "bytes": path.stat().st_size, "sha256": digest.hexdigest()}


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {
        "dvis_daq": dvis_daq.__version__,
        "detectron2": str(dvis_daq.DETECTRON2),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "CUDA": torch.version.cuda,
        "cuDNN": str(torch.backends.cudnn.version()),
    }
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def _git(root: Path, output: Path) -> dict[str, Any] | None:
    """Commit and changes of the code; None outside of a repository."""
    commit = _run_git(root, "rev-parse", "HEAD")
    if commit is None:
        return None
    changed = _run_git(root, "status", "--porcelain") or ""
    diff = (_run_git(root, "diff", "HEAD") or "").encode()
    saved = None
    if diff and len(diff) < _MAX_DIFF:
        saved = "uncommitted.diff"
        write_atomically(output / saved, lambda file: file.write(diff))
    files = changed.splitlines()
    return {"commit": commit.strip(), "changed_files": files, "diff": saved}


def _run_git(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", root, *words], capture_output=True, text=True)
    except FileNotFoundError:  # no git on this machine
        return None
    return done.stdout if done.returncode == 0 else None


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
