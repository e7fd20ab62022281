"""Tiny GenVIS trackers in float64 and random videos for them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from dvis_daq.structures import FrameOutputs
from dvis_daq.tracker.clip import ClipModule
from dvis_daq.tracker.genvis import GenVISTracker, PrototypeMemory
from dvis_daq.tracker.genvis_daq import GenVISDAQTracker
from tests.unit.tracker.tiny_tracker import CLASSES, MASK_DIM, WIDTH, make_video

PIXEL_DIM, CANDIDATES, ROWS = 10, 6, 5


def clip_module(classes: int = CLASSES) -> ClipModule:
    module = ClipModule(
        hidden_dim=WIDTH,
        pixel_dim=PIXEL_DIM,
        mask_dim=MASK_DIM,
        num_classes=classes,
        encoder_layers=2,
        decoder_layers=2,
        heads=4,
        feedforward_dim=32,
    )
    nn.init.normal_(module.head.class_embed.weight)  # scores far apart, for rules to bite
    return module


def genvis(*, memory: bool = True, clips: int | None = None, classes: int = CLASSES):
    torch.manual_seed(0)
    return GenVISTracker(
        clip_module(classes),
        num_candidates=CANDIDATES,
        num_rows=ROWS,
        memory=PrototypeMemory(WIDTH, clips) if memory else None,
    ).double()


def genvis_daq(classes: int = CLASSES) -> GenVISDAQTracker:
    torch.manual_seed(0)
    return GenVISDAQTracker(
        clip_module(classes),
        num_queries=CANDIDATES,
        mask_dim=MASK_DIM,
        heads=4,
        feedforward_dim=32,
        layers=2,
        background_queries=3,
    ).double()


def clip_video(frames: int, seed: int = 0) -> FrameOutputs:
    """Random candidates with pixel features."""
    make = torch.Generator().manual_seed(seed + 100)
    pixels = torch.randn(frames, PIXEL_DIM, 4, 6, generator=make, dtype=torch.float64)
    return replace(make_video(frames, CANDIDATES, seed), pixel_features=pixels)


def permuted(video: FrameOutputs, order: torch.Tensor) -> FrameOutputs:
    """The same video with its candidates in another order."""
    return replace(
        video,
        embeds=video.embeds[:, order],
        logits=video.logits[:, order],
        masks=video.masks[:, order],
    )
