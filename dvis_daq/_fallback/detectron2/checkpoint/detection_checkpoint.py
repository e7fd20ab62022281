"""fvcore's `Checkpointer` with the file formats of released weights."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlparse

import torch
from fvcore.common.checkpoint import Checkpointer
from torch import nn

from detectron2.checkpoint._name_matching import backbone_names, match_names
from detectron2.checkpoint._pickles import load_pickle
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager

__all__ = ["DetectionCheckpointer"]


class DetectionCheckpointer(Checkpointer):
    """Reads `.pth`, `.pyth` and `.pkl`; the main process writes `.pth`.

    Args:
        model: may be wrapped for distributed training.
        save_dir: folder of the checkpoints and of `last_checkpoint`.
        save_to_disk: whether `save` writes; only in the main process if None.
        **checkpointables: other objects with `state_dict` and `load_state_dict`.
    """

    def __init__(
        self,
        model: nn.Module,
        save_dir: str = "",
        *,
        save_to_disk: bool | None = None,
        **checkpointables: Any,
    ) -> None:
        if save_to_disk is None:
            save_to_disk = comm.is_main_process()
        super().__init__(model, save_dir, save_to_disk=save_to_disk, **checkpointables)
        self.path_manager = PathManager
        self._match_by_suffix = False

    def load(self, path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """As `Checkpointer.load`.

        Args:
            path: file or address; `?matching_heuristics=True` after it matches names by their
                end (`res2.0.conv1.weight` with `backbone.res2.0.conv1.weight`).
            *args: as for `Checkpointer.load`.
            **kwargs: as for `Checkpointer.load`.

        Raises:
            ValueError: another query stands after the path.
        """
        parsed = urlparse(path)
        query = parse_qs(parsed.query)
        self._match_by_suffix = query.pop("matching_heuristics", ["False"]) == ["True"]
        if query:
            raise ValueError(f"Unsupported query in '{path}'; only ?matching_heuristics=True is")
        return super().load(parsed._replace(query="").geturl(), *args, **kwargs)

    def _load_file(self, f: str) -> dict[str, Any]:
        if f.endswith(".pkl"):
            return _from_pickle(load_pickle(f))
        loaded = torch.load(f, map_location="cpu", weights_only=True)
        if f.endswith(".pyth") and "model_state" in loaded:
            return {"model": loaded["model_state"], "matching_heuristics": True}
        return loaded if "model" in loaded else {"model": loaded}

    def _load_model(self, checkpoint: dict[str, Any]) -> Any:
        if checkpoint.pop("matching_heuristics", False) or self._match_by_suffix:
            weights = checkpoint["model"]
            self._convert_ndarray_to_tensor(weights)
            checkpoint["model"] = match_names(self.model.state_dict(), weights)
        return super()._load_model(checkpoint)


def _from_pickle(data: dict[str, Any]) -> dict[str, Any]:
    """A `.pkl` of Detectron2's model zoo, or of its predecessor on caffe2."""
    if "model" in data and "__author__" in data:
        return data
    return {"model": backbone_names(data.get("blobs", data)), "matching_heuristics": True}
