"""Training checkpoints: Detectron2's format, written atomically and read safely."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer

from dvis_daq.checkpoint import (
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

    def resume(self) -> dict[str, Any] | None:
        """Loads the newest checkpoint of `save_dir` that is whole.

        Returns:
            What it holds beside the model and the checkpointables; None if there is none.

        Raises:
            CheckpointError: none is whole, or it is of another model.
        """
        files = self._newest_first()
        for file in files:
            try:
                return self.load(str(file))
            except DamagedCheckpointError as error:
                logger.warning("%s; trying the checkpoint before it", error)
        if files:
            raise DamagedCheckpointError(
                f"{self.save_dir}: all {len(files)} checkpoints are damaged"
            )
        return None

    def _newest_first(self) -> list[Path]:
        files = list(Path(self.save_dir).glob("model_*.pth"))
        tagged = self.get_checkpoint_file() if self.has_checkpoint() else ""
        return sorted(files, key=lambda f: (str(f) == tagged, f.stat().st_mtime_ns), reverse=True)

    def _load_file(self, f: str | os.PathLike[str]) -> dict[str, Any]:
        return {"file": str(f), **read_checkpoint(f)}

    def _load_model(self, checkpoint: dict[str, Any]) -> None:
        load_state(self.model, checkpoint.pop("model"), source=checkpoint.pop("file"))
