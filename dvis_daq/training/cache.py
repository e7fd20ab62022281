"""What a frozen segmenter says of a frame never changes: it may be computed once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dvis_daq.layers.precision import no_autocast
from dvis_daq.structures import FrameOutputs


class SegmentedFrames:
    """Outputs of a frozen segmenter, kept on the host for the next time a frame is drawn.

    Only for frames that always look the same: no random size, crop, flip or colour.

    Args:
        dtype: of what is kept; half precision by default, which halves the memory.
    """

    def __init__(self, dtype: torch.dtype = torch.float16) -> None:
        self._dtype = dtype
        self._frames: dict[str, FrameOutputs] = {}

    def __len__(self) -> int:
        """Frames held."""
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
        missing = [t for t, name in enumerate(file_names) if name not in self._frames]
        if missing:
            with torch.no_grad():
                found = segmenter(images[missing])
            for t, frame in zip(missing, found.to("cpu", self._dtype), strict=True):
                self._frames[file_names[t]] = frame
        with no_autocast(images):  # it refuses half precision on a CPU
            clip = FrameOutputs.cat([self._frames[name] for name in file_names])
        return clip.to(images.device, segmenter.pixel_mean.dtype)
