"""Training checkpoints: Detectron2's format, written atomically and read safely."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer

from dvis_daq.checkpoint import (
    CheckpointError,
    DamagedCheckpointError,
    load_state,
    read_checkpoint,
    write_atomically,
)

logger = logging.getLogger(__name__)


class Checkpointer(DetectionCheckpointer):
    """Saves and loads a model together with the state of its trainer.

    Args:
        model: the model, bare or in DistributedDataParallel.
        save_dir: folder of the checkpoints.
        checkpointables: what else has a state to be saved, by name.
    """

    def save(self, name: str, **extra: Any) -> None:
        """Writes `<save_dir>/<name>.pth` and names it in `last_checkpoint`.

        A crash or a full disk leaves the checkpoints before it as they were.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        content: dict[str, Any] = {"model": self.model.state_dict()}
        content.update({key: value.state_dict() for key, value in self.checkpointables.items()})
        content.update(extra)
        path = Path(self.save_dir, f"{name}.pth")
        write_atomically(path, lambda file: torch.save(content, file))
        self.tag_last_checkpoint(path.name)
        logger.info("Saved %s", path)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Makes this file the one that a resumed training starts from."""
        tag = Path(self.save_dir, "last_checkpoint")
        write_atomically(tag, lambda file: file.write(last_filename_basename.encode()))

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """Loads one checkpoint of this very model.

        Args:
            path: see `read_checkpoint`.
            checkpointables: what to load beside the model; None for all that the file holds.

        Returns:
            What the file holds beside the model and the checkpointables.

        Raises:
            CheckpointError, FileNotFoundError: the file cannot be used.
        """
        content = read_checkpoint(path)
        load_state(self.model, content.pop("model"), source=str(path))
        for name in self.checkpointables if checkpointables is None else checkpointables:
            if name in content:
                self.checkpointables[name].load_state_dict(content.pop(name))
        return content

    def resume(self) -> dict[str, Any] | None:
        """Loads the newest checkpoint of `save_dir` that is whole.

        Returns:
            What it holds beside the model and the checkpointables; None if there is none.

        Raises:
            CheckpointError: none is whole, or it is of another model or of none in training.
        """
        files = self._newest_first()
        for file in files:
            try:
                content = self.load(str(file))
            except DamagedCheckpointError as error:
                logger.warning("%s; trying the checkpoint before it", error)
                continue
            if "iteration" not in content:
                raise CheckpointError(f"{file}: holds weights only, no training to resume")
            return content
        if files:
            raise CheckpointError(f"{self.save_dir}: all {len(files)} checkpoints are damaged")
        return None

    def _newest_first(self) -> list[Path]:
        files = list(Path(self.save_dir).glob("model_*.pth"))
        tagged = Path(self.get_checkpoint_file()).name if self.has_checkpoint() else ""
        return sorted(files, key=lambda f: (f.name == tagged, f.stat().st_mtime_ns), reverse=True)
