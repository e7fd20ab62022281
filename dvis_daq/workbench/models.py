"""Trained models, and what the tools of evaluation say of them."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvis_daq.workbench.runs import call


@dataclass(frozen=True)
class TrainedModel:
    """A checkpoint with its configuration.

    Attributes:
        name: in tables and plots; models of one name are seeds of one method.
        config: YAML.
        weights: file.
        index: among all models, so that results do not meet.
    """

    name: str
    config: Path
    weights: Path
    index: int

    def measure(self, tool: str, folder: Path, opts: Sequence[str]) -> dict[str, Any]:
        """The json of a tool for this model; not run again with the same command.

        Args:
            tool: file of `tools/` and options of its own, as one would type them.
            folder: for the json, the log and what the tool leaves behind.
            opts: KEY VALUE overrides.

        Raises:
            RunError: the tool failed.
        """
        name = f"model{self.index}"
        file, note = folder / f"{name}.json", folder / f"{name}.command"
        command = [*shlex.split(tool), "--config-file", str(self.config)]
        command += ["--weights", str(self.weights), "--json", str(file), *opts]
        command += ["OUTPUT_DIR", str(folder / name)]
        stamp = f"{shlex.join(command)}\n{self.weights.stat().st_mtime_ns}\n"
        if not (file.is_file() and note.is_file() and note.read_text() == stamp):
            call(command, folder, name)
            note.write_text(stamp)
        return json.loads(file.read_text())


def add_models(parser: argparse.ArgumentParser) -> None:
    """The option that names models."""
    parser.add_argument(
        "--model",
        nargs=3,
        action="append",
        required=True,
        metavar=("NAME", "YAML", "WEIGHTS"),
        dest="models",
        help="once for each model; models of one name are seeds of one method",
    )


def chosen_models(options: argparse.Namespace) -> list[TrainedModel]:
    """The models of `add_models`.

    Raises:
        ValueError: a file is not there.
    """
    models = []
    for index, (name, config, weights) in enumerate(options.models):
        for file in (config, weights):
            if not Path(file).is_file():
                raise ValueError(f"--model {name}: {file} is not there")
        models.append(TrainedModel(name, Path(config), Path(weights), index))
    return models


def names_of(models: Sequence[TrainedModel]) -> list[str]:
    """Each name once, in order."""
    return list(dict.fromkeys(model.name for model in models))
