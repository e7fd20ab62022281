"""What a recorded case is, and the model and video that it describes."""

from __future__ import annotations

import importlib.util
import json
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
import torch
import yaml
from detectron2.config import CfgNode
from detectron2.modeling import build_model

import dvis_daq.recipes  # noqa: F401  registers the models
from dvis_daq.checkpoint import to_official
from dvis_daq.config import get_config
from dvis_daq.model import VideoModel
from dvis_daq.official_config import _nest
from dvis_daq.structures import ClipTargets

Arrays = dict[str, np.ndarray]
Module = TypeVar("Module", bound=torch.nn.Module)


@dataclass(frozen=True)
class Case:
    """One golden file: its configuration, weights by rule, video, and recorded arrays."""

    name: str
    folder: Path
    entry: dict[str, Any]

    @cached_property
    def recipe(self) -> ModuleType:
        """`golden_weights.py` of the folder: weights, videos and point sets by rule."""
        file = self.folder / "golden_weights.py"
        spec = importlib.util.spec_from_file_location("golden_weights", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    @cached_property
    def arrays(self) -> Arrays:
        with np.load(self.folder / "golden" / f"{self.name}.npz") as file:
            return {name: file[name] for name in file.files}

    def tensor(self, name: str, dtype: torch.dtype | None = None) -> torch.Tensor:
        """A recorded array, in another type if one is given."""
        return torch.from_numpy(self.arrays[name]).to(dtype)

    def inputs(self, *names: str) -> Arrays:
        """Recorded arrays that a producer starts from; `compare` knows them by identity."""
        return {name: self.arrays[name] for name in names}

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
            ours = ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "TEST.MASK_DTYPE", "float32"]
            return get_config(released.name, ours)

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

    def fill(self, module: Module, prefix: str, dtype: torch.dtype) -> Module:
        """`module`, which lies at `prefix` in our models, with weights by rule; evaluates."""
        for name, value in module.to(dtype).state_dict().items():
            [official] = to_official({prefix + name: value})
            weight = self.recipe.fill_tensor(official, value.shape, self.entry["weight_seed"])
            value.copy_(torch.from_numpy(weight))
        return module.eval()

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
        raise FileNotFoundError(
            f"{listing} not found; give the folder that holds golden/ and configs/"
        )
    entries = json.loads(listing.read_text())
    return [Case(name, Path(folder), entry) for name, entry in entries.items()]
