"""What was proposed and decided in a frame, for `tools/eval.py --explain`."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dvis_daq.structures import FrameSizes
from dvis_daq.tasks.vis import encode_tracks


def frame_trace(
    candidates: tuple[Tensor, Tensor],
    newcomers: tuple[Tensor, Tensor],
    accepted: Tensor,
    sizes: FrameSizes,
    *,
    rule: str,
) -> dict[str, Any]:
    """One line of a trace, without the video and the frame.

    Args:
        candidates: masks (Q, h, w) and scores (Q,) of the segmenter.
        newcomers: masks (M, h, w) and scores (M,) of the newly anchored rows.
        accepted: (M,) bool, newcomers that became tracks.
        sizes: masks are encoded at the output size.
        rule: what turned the others away.
    """
    lines = _scored(*newcomers, sizes)
    for line, born in zip(lines, accepted.tolist(), strict=True):
        line["removed_by"] = None if born else rule
    return {"candidates": _scored(*candidates, sizes), "newcomers": lines}


def _scored(masks: Tensor, scores: Tensor, sizes: FrameSizes) -> list[dict[str, Any]]:
    encoded = encode_tracks(masks[:, None], sizes)
    return [
        {"segmentation": run, "score": round(score, 5)}
        for [run], score in zip(encoded, scores.tolist(), strict=True)
    ]
