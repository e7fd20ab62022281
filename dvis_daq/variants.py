"""Models that differ in what follows the segmenter, run side by side on one pass of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import tee
from typing import Any

import torch
from torch import nn

from dvis_daq.model import Video, VideoModel
from dvis_daq.tracker.loop import track


class Variants(nn.Module):
    """Online models with one segmenter, which sees every window of a video once.

    The models go through a video frame by frame together, so that only one window of what the
    segmenter said is held, however long the video and however many they are.

    Args:
        models: with the same weights of the segmenter; that of the first one serves all.

    Raises:
        ValueError: a model has a refiner, which runs the segmenter by itself.
    """

    def __init__(self, models: Sequence[VideoModel]) -> None:
        super().__init__()
        if any(model.refiner is not None for model in models):
            raise ValueError("an offline model cannot share a pass of the segmenter; take its "
                             "online model")  # fmt: skip
        for model in models:
            model.segmenter = models[0].segmenter
        self.models = nn.ModuleList(models)

    @torch.no_grad()
    def forward(self, videos: Sequence[Video]) -> list[list[dict[str, Any]]]:
        """For each video the results of every model, as `VideoModel.forward` gives them."""
        return [self._results(video) for video in videos]

    def _results(self, video: Video) -> list[dict[str, Any]]:
        models: list[VideoModel] = list(self.models)  # type: ignore[arg-type]
        frames = tee(models[0].segmented(video["images"]), len(models))
        runs = (
            track(model.tracker, model.lifecycle, branch)
            for model, branch in zip(models, frames, strict=True)
        )
        banks = [model.bank() for model in models]
        for step in zip(*runs, strict=True):
            for bank, done in zip(banks, step, strict=True):
                bank.add(done.state, done.step, done.rows, done.seen)
        return [
            model.deliver(bank.drain(), video) for model, bank in zip(models, banks, strict=True)
        ]
