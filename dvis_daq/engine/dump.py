"""A training step on disk: what it started from and what it was given, as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dvis_daq.checkpoint import CheckpointError, read_checkpoint, write_atomically
from dvis_daq.structures import ClipTargets

_KEYS = ("iteration", "problem", "batches", "random", "objective")


@dataclass(frozen=True)
class Dump:
    """One step of one process.

    Attributes:
        iteration: counted from 0.
        problem: what happened, in words.
        batches: what the model was given, one batch for each round of accumulation.
        model: weights before the step.
        random: generators before the step, see `random_state`.
        objective: state of the objective; empty if it has none.
    """

    iteration: int
    problem: str
    batches: Sequence[Sequence[Mapping[str, Any]]]
    model: Mapping[str, Tensor]
    random: Mapping[str, Any]
    objective: Mapping[Any, Any]

    def write(self, path: Path) -> None:
        """Writes a file that `read` and any reader of tensors can open."""
        content = {key: getattr(self, key) for key in _KEYS}
        content["batches"] = [[_plain(video) for video in batch] for batch in self.batches]
        content["model"] = dict(self.model)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda file: torch.save(content, file))

    @classmethod
    def read(cls, path: Path) -> Dump:
        """Reads what `write` wrote.

        Raises:
            CheckpointError, FileNotFoundError: there is no such dump.
        """
        content = read_checkpoint(path)
        missing = [key for key in _KEYS if key not in content]
        if missing:
            raise CheckpointError(f"{path}: no dump of a training step, it lacks {missing[0]!r}")
        batches = [[_restored(video) for video in batch] for batch in content["batches"]]
        return cls(**{**{key: content[key] for key in (*_KEYS, "model")}, "batches": batches})


def _plain(video: Mapping[str, Any]) -> dict[str, Any]:
    """The targets as a dict: a file names no class of ours."""
    return {
        key: {f.name: getattr(value, f.name) for f in fields(value)}
        if is_dataclass(value)
        else value
        for key, value in video.items()
    }


def _restored(video: Mapping[str, Any]) -> dict[str, Any]:
    targets = video.get("targets")
    return {**video, "targets": ClipTargets(**targets)} if targets is not None else dict(video)


def places(batches: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    """Videos and frames of some batches, in words."""
    return ", ".join(_videos(batches))


def _videos(batches: Sequence[Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    for batch in batches:
        for video in batch:
            yield f"{video.get('video_id')} (frames {video.get('frame_indices')})"
