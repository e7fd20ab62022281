"""What a recorded case is, and the model and video that it describes."""

from __future__ import annotations

import dvis_daq.recipes  # noqa: F401  registers the models

import importlib.util
import json
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import yaml
from detectron2.config import CfgNode
from detectron2.modeling import build_model

from dvis_daq.checkpoint import to_official
from dvis_daq.config import get_config
from dvis_daq.model import VideoModel
from dvis_daq.official_config import _nest
from dvis_daq.structures import ClipTargets

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """One golden file: its configuration, weights by rule, video, and recorded arrays."""

    name: str
    folder: Path
    entry: dict[str, Any]

    @cached_property
    def recipe(self) -> ModuleType:
        """`golden_weights.py` of the folder: weights, videos and point sets by rule."""
        spec = importlib.util.spec_from_file_location("golden_weights", self.folder / "golden_weights.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    @cached_property
    def arrays(self) -> Arrays:
        with np.load(self.folder / "golden" / f"{self.name}.npz") as file:
            return {name: file[name] for name in file.files}

    def config(self) -> CfgNode:
        """Our configuration, by way of the released file with its defaults and the overrides."""
        configs = self.folder / "configs"
        group = self.entry.get("config_group", "dvis_daq")
        file = f"{group}__{self.entry['config'].replace('/', '__')}.json"
        values = json.loads((configs / "defaults.json").read_text())
        values |= json.loads((configs / file).read_text()) | self.entry["overrides"]
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as released:
            yaml.safe_dump(_nest(values), released)
            released.flush()
            return get_config(
                released.name, ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "TEST.MASK_DTYPE", "float32"]
            )

    def model(self, dtype: torch.dtype) -> VideoModel:
        """The model of `config` with the case's weights, in evaluation mode."""
        model = build_model(self.config())
        names = to_official(model.state_dict())
        shapes = {name: tuple(value.shape) for name, value in names.items()}
        weights = self.recipe.fill_state_dict(shapes, seed=self.entry["weight_seed"])
        missing, unexpected = model.load_state_dict(
            {name: torch.from_numpy(value) for name, value in weights.items()}, strict=False
        )
        left_out = self.recipe.SKIPPED_SUFFIXES
        if unexpected or [name for name in missing if not name.endswith(left_out)]:
            raise ValueError(f"{self.name}: weights do not fit, {missing=} {unexpected=}")
        return model.to(dtype).eval()

    @cached_property
    def video(self) -> dict[str, np.ndarray]:
        settings = dict(self.entry["video"])
        settings["objects"] = getattr(self.recipe, settings["objects"])
        return self.recipe.make_video(**settings)

    def images(self, dtype: torch.dtype, frames: list[int] | None = None) -> torch.Tensor:
        """(T, 3, H, W) RGB 0..255."""
        chosen = self.video["frames"] if frames is None else self.video["frames"][frames]
        return torch.from_numpy(chosen).permute(0, 3, 1, 2).to(dtype)

    def targets(self, frames: list[int]) -> ClipTargets:
        """Ground truth; row g is object g of the table, visible or not."""
        video = self.video
        return ClipTargets(
            labels=torch.from_numpy(video["classes"]),
            masks=torch.from_numpy(video["masks"][:, frames]),
            ids=torch.from_numpy(video["ids"].max(1)),
        )


def load_cases(folder: Path) -> list[Case]:
    """The cases of `folder`, in the order of `cases.json`.

    Raises:
        FileNotFoundError: the folder has not the layout of the reference data.
    """
    listing = Path(folder) / "golden" / "cases.json"
    if not listing.is_file():
        raise FileNotFoundError(f"{listing} not found; give the folder that holds golden/ and configs/")
    entries = json.loads(listing.read_text())
    return [Case(name, Path(folder), entry) for name, entry in entries.items()]
