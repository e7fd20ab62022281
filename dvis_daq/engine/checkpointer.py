"""Training checkpoints: Detectron2's format, written atomically and read safely."""

from __future__ import annotations

import logging
import os
import re
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
from dvis_daq.engine.errors import TrainingError

logger = logging.getLogger(__name__)

_NUMBERED = re.compile(r"model_(\d{7,})\.pth")
_TAG = "last_checkpoint"


class Checkpointer(DetectionCheckpointer):
    """Saves and loads a model together with the state of its trainer.

    Args:
        model: the model, bare or in DistributedDataParallel.
        save_dir: folder of the checkpoints.
        keep: how many numbered checkpoints stay, the newest ones; 0 for all.
        checkpointables: what else has a state to be saved, by name.
    """

    def __init__(
        self, model: torch.nn.Module, save_dir: str = "", *, keep: int = 0, **checkpointables: Any
    ) -> None:
        super().__init__(model, save_dir, **checkpointables)
        self.keep = keep

    def save(self, name: str, *, tag: bool = True, **extra: Any) -> None:
        """Writes `<save_dir>/<name>.pth`, then removes the numbered ones that are too many.

        A crash or a full disk leaves the checkpoints before it as they were.

        Args:
            name: without suffix.
            tag: a resumed training starts from this file.
            **extra: what else it holds.

        Raises:
            TrainingError: the file cannot be written.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        content: dict[str, Any] = {"model": self.model.state_dict()}
        content.update({key: value.state_dict() for key, value in self.checkpointables.items()})
        content.update(extra)
        path = Path(self.save_dir, f"{name}.pth")
        try:
            write_atomically(path, lambda file: torch.save(content, file))
            if tag:
                self.tag_last_checkpoint(path.name)
        except (OSError, RuntimeError) as error:  # torch's writer has an error of its own
            number = getattr(error, "errno", None)
            reason = os.strerror(number) if number else str(error).partition("\n")[0]
            raise TrainingError(
                f"{path} cannot be written ({reason}); {self._still_there()}. Make room or choose "
                "another OUTPUT_DIR, then go on with --resume"
            ) from error
        logger.info("Saved %s", path)
        self._remove_old()

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Makes this file the one that a resumed training starts from."""
        tag = Path(self.save_dir, _TAG)
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
        files = self.newest_first()
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

    def newest_first(self) -> list[Path]:
        """The checkpoints of `save_dir`, in the order in which a resumed run tries them."""
        files = list(Path(self.save_dir).glob("model_*.pth"))
        tag = Path(self.save_dir, _TAG)
        tagged = tag.read_text(errors="replace").strip() if tag.is_file() else ""
        return sorted(files, key=lambda f: (f.name == tagged, f.stat().st_mtime_ns), reverse=True)

    def _remove_old(self) -> None:
        """Keeps the newest numbered checkpoints; leaves of writers that were killed go, too."""
        folder = Path(self.save_dir)
        for left in folder.glob(".model_*.tmp"):
            left.unlink()
        numbered = [file for file in folder.iterdir() if _NUMBERED.fullmatch(file.name)]
        numbered.sort(key=lambda file: int(file.stem.removeprefix("model_")))
        for file in numbered[: -self.keep] if self.keep else []:
            file.unlink()

    def _still_there(self) -> str:
        files = self.newest_first()
        return f"{files[0]} before it is untouched" if files else "there is no checkpoint yet"
