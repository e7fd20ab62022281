"""What a frozen segmenter says of a frame never changes: it may be computed once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dvis_daq.layers.precision import no_autocast
from dvis_daq.structures import FrameOutputs


class SegmentedFrames:
    """Outputs of a frozen segmenter, kept for the next time a frame is drawn.

    Only for frames that always look the same: no random size, crop, flip or colour.

    Args:
        dtype: of what is kept; half precision by default, which halves the memory.
        folder: where it is kept, for this and later trainings; None: in main memory.
    """

    def __init__(
        self, dtype: torch.dtype = torch.float16, folder: str | Path | None = None
    ) -> None:
        self._dtype = dtype
        self._frames: dict[str, FrameOutputs] = {}
        self._folder = None if folder is None else Path(folder)
        self._files: FrameFiles | None = None

    def __len__(self) -> int:
        """Frames held in main memory."""
        return len(self._frames)

    def __call__(
        self, segmenter: nn.Module, images: Tensor, file_names: Sequence[str]
    ) -> FrameOutputs:
        """Outputs for T frames on the segmenter's device, computed where they are missing.

        Args:
            segmenter: frozen, in evaluation mode.
            images: (T, 3, H, W) RGB 0..255.
            file_names: T names, one a frame of the data set.
        """
        known = self._read(segmenter, images, file_names)
        missing = [t for t, frame in enumerate(known) if frame is None]
        if missing:
            with torch.no_grad():
                found = segmenter(images[missing])
            for t, frame in zip(missing, found.to("cpu", self._dtype), strict=True):
                known[t] = frame
                self._keep(file_names[t], images, frame)
        with no_autocast(images):  # it refuses half precision on a CPU
            clip = FrameOutputs.cat([frame for frame in known if frame is not None])
        return clip.to(images.device, segmenter.pixel_mean.dtype)

    def _read(
        self, segmenter: nn.Module, images: Tensor, file_names: Sequence[str]
    ) -> list[FrameOutputs | None]:
        if self._folder is None:
            return [self._frames.get(name) for name in file_names]
        if self._files is None:  # now the weights are loaded
            self._files = FrameFiles(self._folder / fingerprint(segmenter))
        return [self._files.read(name, images.shape[-2:]) for name in file_names]

    def _keep(self, name: str, images: Tensor, frame: FrameOutputs) -> None:
        if self._files is None:
            self._frames[name] = frame
        else:
            self._files.write(name, images.shape[-2:], frame)


class FrameFiles:
    """A file for each frame, safe for several processes that write at once.

    Args:
        folder: of one segmenter; it is made.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def read(self, name: str, size: tuple[int, int]) -> FrameOutputs | None:
        """The outputs for a frame at a size, in pixels; None where there is no file."""
        path = self._path(name, size)
        return FrameOutputs(**load_file(path)) if path.is_file() else None

    def write(self, name: str, size: tuple[int, int], frame: FrameOutputs) -> None:
        values = {field.name: getattr(frame, field.name) for field in fields(frame)}
        tensors = {key: x.contiguous() for key, x in values.items() if x is not None}
        path = self._path(name, size)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        save_file(tensors, partial)
        partial.replace(path)  # whole or not at all

    def _path(self, name: str, size: tuple[int, int]) -> Path:
        key = hashlib.sha256(f"{name} {size[0]} {size[1]}".encode()).hexdigest()[:32]
        return self._folder / f"{key}.safetensors"


def fingerprint(module: nn.Module) -> str:
    """16 hexadecimal digits that tell weights apart."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
