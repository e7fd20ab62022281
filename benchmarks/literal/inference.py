"""A whole video: windows of 5 frames, one Python object a track, one decision a query."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import torch
from pycocotools import mask as coco
from torch import Tensor
from torch.nn import functional as F

from benchmarks.literal import tracker as daq
from benchmarks.literal.blocks import Weights
from benchmarks.literal.segmenter import Segmented, segment

WINDOW = 5
SIGHTINGS = 9  # earlier ones that an appearance is compared with


@dataclass(frozen=True)
class Thresholds:
    """The life cycle; names as in MODEL.LIFECYCLE, `both`: tracker 2 decides, too."""

    score: float
    first_score: float
    foreground_score: float
    patience: int
    both: bool = True


@dataclass
class Track:
    """One object and all that it has shown."""

    start: int
    momentum: Tensor
    seen: list[Tensor]
    logits: list[Tensor] = field(default_factory=list)
    masks: list[Tensor] = field(default_factory=list)
    embeds: list[Tensor] = field(default_factory=list)
    missed: int = 0
    dead: bool = False
    id: int = 0

    def add(self, said: daq.Said, row: int) -> None:
        self.logits.append(said.logits[-1, row])
        self.masks.append(said.masks[-1, row].cpu())
        self.embeds.append(said.embeds[row])

    def observe(self, feature: Tensor) -> None:
        past = self.seen[-SIGHTINGS:]
        likeness = torch.stack([F.cosine_similarity(old, feature, dim=0) for old in past])
        beta = max(0.0, likeness.mean().item())
        self.momentum = (1 - beta) * self.momentum + beta * feature
        self.seen.append(feature)


class LiteralModel:
    """DVIS-DAQ online.

    Args:
        weights: all weights under their released names.
        mean, std: of the pixels, 0..255.
        thresholds: of the life cycle.
        max_instances: (track, class) pairs reported.
    """

    def __init__(
        self,
        weights: dict[str, Tensor],
        *,
        mean: list[float],
        std: list[float],
        thresholds: Thresholds,
        max_instances: int = 20,
    ) -> None:
        self.weights = Weights(weights)
        like = weights["sem_seg_head.predictor.query_feat.weight"]
        self.mean, self.std = (like.new_tensor(x).view(3, 1, 1) for x in (mean, std))
        self.rules = thresholds
        self.max_instances = max_instances

    @torch.no_grad()
    def __call__(self, images: Tensor, output: tuple[int, int]) -> dict[str, Any]:
        """The result of a video (T, 3, H, W) at the size `output`."""
        tracks: list[Track] = []
        for start in range(0, len(images), WINDOW):
            window = self.segment(images[start : start + WINDOW])
            for t in range(len(window.embeds)):
                self.step(tracks, window, t, start + t)
        return self.result(tracks, images.shape, output)

    def segment(self, images: Tensor) -> Segmented:
        return segment(self.weights, images, self.mean, self.std)

    def step(self, tracks: list[Track], window: Segmented, t: int, frame: int) -> None:
        """One frame through both trackers and the life cycle."""
        w = self.weights.at("tracker")
        embeds, features = window.embeds[t], window.mask_features[t]
        projected = daq.projected(w, features)
        living = [track for track in tracks if not track.dead]
        if frame == 0:
            said = daq.predict(w, daq.emergence(w, embeds, embeds), projected)
            shown, accepted = _scores(window.logits[t]), self.rules.first_score
            gone = None
        else:
            position = daq.appearance(w, window.masks[t], features)
            said, gone = self.both(living, embeds, position, projected)
            shown, accepted = _scores(said.logits[-1]), self.rules.score
        look = daq.appearance(w, said.masks[-1], features)
        for row in range(len(said.embeds)):
            seen = shown[row].item() > accepted
            if row < len(living):
                if gone is not None and self.rules.both:
                    present = _scores(gone.logits[-1])[row].item()
                    seen = seen and present > self.rules.foreground_score
                self.carry_on(living[row], said, row, look[row], seen)
            elif seen:
                track = Track(frame, look[row], [look[row]], id=_new_id(tracks))
                track.add(said, row)
                tracks.append(track)

    def both(
        self, living: list[Track], embeds: Tensor, position: Tensor, projected: Tensor
    ) -> tuple[daq.Said, daq.Said]:
        """What both trackers say of a later frame."""
        w = self.weights.at("tracker")
        queries = torch.stack([track.embeds[-1] for track in living]) if living else embeds[:0]
        momentum = torch.stack([track.momentum for track in living]) if living else embeds[:0]
        new = w["new_ins_embeds.weight"].repeat(len(embeds), 1)
        layers = daq.emergence(
            w,
            torch.cat([queries, new]),
            embeds,
            torch.cat([momentum, position]),
            position,
        )
        initial = self.weights["sem_seg_head.predictor.query_feat.weight"]
        gone = daq.disappearance(w, queries, momentum, embeds, initial)
        return daq.predict(w, layers, projected), daq.predict(w, gone, projected)

    def carry_on(self, track: Track, said: daq.Said, row: int, look: Tensor, seen: bool) -> None:
        if seen:
            track.missed = 0
            track.observe(look)
        else:
            track.missed += 1
            if track.missed >= self.rules.patience:
                track.dead = True
                return
        track.add(said, row)

    def result(
        self, tracks: list[Track], shape: torch.Size, output: tuple[int, int]
    ) -> dict[str, Any]:
        """Scores, labels, tracks and RLEs of the best pairs of a track and a class."""
        frames, (height, width) = shape[0], shape[-2:]
        padded = (-height % 32 + height, -width % 32 + width)
        logits = torch.stack([torch.stack(track.logits).mean(0) for track in tracks])
        masks = tracks[0].masks[0].new_full((len(tracks), frames, *tracks[0].masks[0].shape), -1e4)
        for row, track in zip(masks, tracks, strict=True):
            row[track.start : track.start + len(track.masks)] = torch.stack(track.masks)
        scores = logits.softmax(-1)[:, :-1]
        best, index = scores.flatten().topk(min(self.max_instances, scores.numel()))
        rows = index // scores.shape[1]
        shown = F.interpolate(masks[rows], padded, mode="bilinear", align_corners=False)
        shown = shown[..., :height, :width]
        shown = F.interpolate(shown, output, mode="bilinear", align_corners=False) > 0
        runs = [
            [coco.encode(frame.numpy().astype("uint8", order="F")) for frame in track]
            for track in shown
        ]
        return {"scores": best, "labels": index % scores.shape[1], "rows": rows, "masks": runs}


def _scores(logits: Tensor) -> Tensor:
    return logits.softmax(-1)[:, :-1].max(-1).values


def _new_id(tracks: list[Track]) -> int:
    taken = {track.id for track in tracks}
    while (found := random.randint(0, 100_000)) in taken:
        pass
    return found
