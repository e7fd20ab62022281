"""Scene cuts: where one shot of a video ends and another begins."""

from __future__ import annotations

import cv2
import numpy as np

BINS = 8  # a colour channel
SIDE = 64  # px, frames are made this small before they are compared


class CutDetector:
    """Tells the frames whose colours have little in common with those of the frame before.

    A histogram of 8 x 8 x 8 colours is compared with the last one by its intersection, 1 for the
    same and 0 for nothing in common. A fade is not seen, a flash light is taken for two cuts.

    Args:
        threshold: 0..1, a new shot begins where the intersection is below it.
    """

    def __init__(self, threshold: float = 0.6) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"the threshold of cuts must lie in 0..1, got {threshold}")
        self.threshold = threshold
        self._last: np.ndarray | None = None

    def __call__(self, index: int, frame: np.ndarray) -> bool:
        """Whether a new shot begins with this frame; frames must come in order.

        Args:
            index: of the frame in the video.
            frame: (H, W, 3) uint8 RGB.
        """
        histogram = _histogram(frame)
        last, self._last = self._last, histogram
        if last is None:
            return False
        return float(np.minimum(last, histogram).sum()) < self.threshold


class CutList:
    """Cuts that are known.

    Args:
        frames: indices of the first frames of shots.
    """

    def __init__(self, frames: list[int]) -> None:
        if any(frame < 1 for frame in frames):
            raise ValueError(f"a cut lies before frame 1 or later, got {min(frames)}")
        self.frames = frozenset(frames)

    def __call__(self, index: int, frame: np.ndarray) -> bool:
        """Whether a new shot begins with this frame."""
        return index in self.frames


def cut_rule(text: str) -> CutDetector | CutList:
    """From a word on the command line: `auto`, or frames, comma-separated.

    Raises:
        ValueError: it is neither.
    """
    if text == "auto":
        return CutDetector()
    pieces = [piece.strip() for piece in text.split(",") if piece.strip()]
    if not all(piece.isdecimal() for piece in pieces):
        raise ValueError(f"cuts are frame numbers, comma-separated, or auto; got '{text}'")
    return CutList([int(piece) for piece in pieces])


def _histogram(frame: np.ndarray) -> np.ndarray:
    """(512,) shares of the colours."""
    small = cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    counts = cv2.calcHist([small], [0, 1, 2], None, [BINS] * 3, [0, 256] * 3)
    return counts.ravel() / counts.sum()
