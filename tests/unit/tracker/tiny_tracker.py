"""A tiny tracker in float64 and random videos for it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from dvis_daq.structures import FrameOutputs
from dvis_daq.tracker.daq import DAQTracker
from dvis_daq.tracker.state import (
    Lifecycle,
    TrackerStep,
    TrackState,
    advance,
    tracker_1_and_2,
)

WIDTH, MASK_DIM, CLASSES, BACKGROUND = 16, 8, 5, 3


def make_tracker(seed: int = 0, layers: int = 2) -> DAQTracker:
    torch.manual_seed(seed)
    tracker = DAQTracker(
        hidden_dim=WIDTH,
        mask_dim=MASK_DIM,
        num_classes=CLASSES,
        layers=layers,
        heads=4,
        feedforward_dim=32,
        background_queries=BACKGROUND,
    )
    nn.init.normal_(tracker.head.class_embed.weight)  # scores far apart, for rules to bite
    return tracker.double().eval()


def make_video(frames: int, candidates: int = 6, seed: int = 0) -> FrameOutputs:
    """Random candidates; there is no relation between two frames."""
    make = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=make, dtype=torch.float64)

    return FrameOutputs(
        embeds=normal(frames, candidates, WIDTH),
        logits=3 * normal(frames, candidates, CLASSES + 1),
        masks=normal(frames, candidates, 4, 6),
        mask_features=normal(frames, MASK_DIM, 4, 6),
        initial_queries=normal(candidates, WIDTH),
    )


LIFE = Lifecycle(
    accept=tracker_1_and_2, score=0.5, first_score=0.5, foreground_score=0.3, patience=2
)


def follow(
    tracker: nn.Module,
    video: FrameOutputs,
    state: TrackState | None = None,
    life: Lifecycle = LIFE,
) -> list[tuple[TrackState, TrackerStep, Tensor, Tensor]]:
    """State after, step, seen and rows of every frame."""
    state = tracker.start() if state is None else state
    done = []
    with torch.no_grad():
        for frame in video:
            step = tracker.step(state, frame)
            seen = life.seen(state, step, frame)
            state, rows = advance(state, step, seen, life.patience)
            done.append((state, step, seen, rows))
    return done


def permuted(video: FrameOutputs, order: Tensor) -> FrameOutputs:
    """The same video with its candidates in another order; what S has learned stays."""
    return replace(
        video,
        embeds=video.embeds[:, order],
        logits=video.logits[:, order],
        masks=video.masks[:, order],
    )
