"""A training step of the trackers (stage 3): every layer decoded for every row, one by one."""

from __future__ import annotations

from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from benchmarks.literal import tracker as daq
from benchmarks.literal.inference import LiteralModel, Track, _scores
from benchmarks.literal.segmenter import Segmented

SELECT, AUXILIARY, NO_OBJECT = 0.1, 0.01, 0.1
CLASS, MASK, DICE = 2.0, 5.0, 5.0


class Truth(NamedTuple):
    """G objects of a clip."""

    labels: Tensor  # (G,)
    masks: Tensor  # (G, T, H, W) bool, padded


class Item(NamedTuple):
    """What one tracker said of a frame, and the pairs (row, object) with those that show."""

    said: daq.Said
    frame: int
    pairs: list[tuple[int, int, bool]]


class LiteralTraining:
    """Losses and gradients of `tracker.*` for one clip.

    Args:
        model: with weights of which those of the tracker require gradients.
        num_points: P of matching and losses.
    """

    def __init__(self, model: LiteralModel, num_points: int = 12544) -> None:
        self.model = model
        self.points = num_points

    def __call__(self, images: Tensor, truth: Truth) -> Tensor:
        """The sum of all weighted losses of a clip (T, 3, H, W)."""
        with torch.no_grad():
            window = self.model.segment(images)
        main: list[Item] = []
        slot: list[Item] = []
        living: list[tuple[Track, int]] = []  # with the object, -1 for none
        for t in range(len(images)):
            step, gone, look = self.step(window, t, [track for track, _ in living])
            pairs = self.match(window, step, t, living, truth)
            main.append(Item(step, t, pairs))
            if gone is not None:
                rows = [(row, g) for row, (_, g) in enumerate(living) if g >= 0]
                slot.append(Item(gone, t, [(r, g, _visible(truth, g, t)) for r, g in rows]))
            living = self.select(living, step, look, pairs, t)
        return self.loss(main, truth) + self.loss(slot, truth)

    def step(
        self, window: Segmented, t: int, living: list[Track]
    ) -> tuple[daq.Said, daq.Said | None, Tensor]:
        w = self.model.weights.at("tracker")
        embeds, features = window.embeds[t], window.mask_features[t]
        projected = daq.projected(w, features)
        if t == 0:
            said = daq.predict(w, daq.emergence(w, embeds, embeds), projected)
            return said, None, daq.appearance(w, said.masks[-1], features)
        position = daq.appearance(w, window.masks[t], features)
        said, gone = self.model.both(living, embeds, position, projected)
        return said, gone, daq.appearance(w, said.masks[-1], features)

    @torch.no_grad()
    def match(
        self,
        window: Segmented,
        step: daq.Said,
        t: int,
        living: list[tuple[Track, int]],
        truth: Truth,
    ) -> list[tuple[int, int, bool]]:
        """Old pairs stay; objects without a row get one of the new rows, all at the first frame."""
        old = [(row, g) for row, (_, g) in enumerate(living) if g >= 0]
        tracked = {g for _, g in old}
        visible = [g for g in range(len(truth.labels)) if _visible(truth, g, t)]
        wanted = [g for g in visible if g not in tracked]
        first = len(living)
        logits, masks = step.logits[-1, first:], step.masks[-1, first:]
        if t == 0:
            logits, masks = window.logits[t], window.masks[t]
        new: list[tuple[int, int]] = []
        if wanted:
            cost = self.cost(logits, masks, truth, wanted, t).cpu()
            rows, columns = linear_sum_assignment(cost)
            new = [(int(r) + first, wanted[c]) for r, c in zip(rows, columns, strict=True)]
        return [(row, g, g in visible) for row, g in old + new]

    def cost(
        self, logits: Tensor, masks: Tensor, truth: Truth, wanted: list[int], t: int
    ) -> Tensor:
        points = torch.rand(1, self.points, 2)
        said = _sample(masks, points.expand(len(masks), -1, -1))
        true = _sample(truth.masks[wanted, t].float(), points.expand(len(wanted), -1, -1))
        positive = F.binary_cross_entropy_with_logits(said, torch.ones_like(said), reduction="none")
        negative = F.binary_cross_entropy_with_logits(
            said, torch.zeros_like(said), reduction="none"
        )
        cross = (positive @ true.T + negative @ (1 - true).T) / self.points
        share = said.sigmoid()
        dice = 1 - (2 * share @ true.T + 1) / (share.sum(-1)[:, None] + true.sum(-1) + 1)
        return -CLASS * logits.softmax(-1)[:, truth.labels[wanted]] + MASK * cross + DICE * dice

    def select(
        self,
        living: list[tuple[Track, int]],
        step: daq.Said,
        look: Tensor,
        pairs: list[tuple[int, int, bool]],
        t: int,
    ) -> list[tuple[Track, int]]:
        """Rows above the threshold live on, one by one."""
        objects = {row: g for row, g, _ in pairs}
        kept = []
        for row in range(len(step.embeds)):
            if _scores(step.logits[-1, row][None]).item() <= SELECT:
                continue
            if row < len(living):
                track = living[row][0]
                track.observe(look[row])
            else:
                track = Track(t, look[row], [look[row]])
            track.embeds.append(step.embeds[row])
            kept.append((track, objects.get(row, -1)))
        return kept

    def loss(self, items: list[Item], truth: Truth) -> Tensor:
        """All layers, one after the other."""
        total = torch.zeros(())
        number = max(1, sum(len(item.pairs) for item in items))
        for layer in range(len(items[0].said.logits)):
            logits = torch.cat([item.said.logits[layer] for item in items])
            labels = torch.cat([_labels(item, truth) for item in items])
            weight = torch.ones(logits.shape[1])
            weight[-1] = NO_OBJECT
            total = total + CLASS * F.cross_entropy(logits, labels, weight)
            said, true = [], []
            for item in items:
                shown = [(row, g) for row, g, seen in item.pairs if seen]
                said += [item.said.masks[layer, row] for row, _ in shown]
                true += [truth.masks[g, item.frame].float() for _, g in shown]
            if said:
                mask, dice = self.mask_losses(torch.stack(said), torch.stack(true))
                total = total + (MASK * mask + DICE * dice) / number
        return total

    def mask_losses(self, masks: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        """Sums over the masks, at points most of which are uncertain."""
        with torch.no_grad():
            points = torch.rand(len(masks), 3 * self.points, 2)
            certain = _sample(masks, points).abs()
            chosen = certain.topk(int(0.75 * self.points), dim=1, largest=False).indices
            points = torch.cat(
                [
                    points.gather(1, chosen[..., None].expand(-1, -1, 2)),
                    torch.rand(len(masks), self.points - chosen.shape[1], 2),
                ],
                dim=1,
            )
            true = _sample(truth, points)
        said = _sample(masks, points)
        cross = F.binary_cross_entropy_with_logits(said, true, reduction="none").mean(1).sum()
        share = said.sigmoid()
        dice = 1 - (2 * (share * true).sum(-1) + 1) / (share.sum(-1) + true.sum(-1) + 1)
        return cross, dice.sum()


def trainable(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights, of which those of the tracker are leaves that want a gradient."""
    return {
        name: value.detach().clone().requires_grad_() if name.startswith("tracker.") else value
        for name, value in weights.items()
    }


def _labels(item: Item, truth: Truth) -> Tensor:
    labels = torch.full((item.said.logits.shape[1],), item.said.logits.shape[2] - 1)
    for row, g, seen in item.pairs:
        if seen:
            labels[row] = truth.labels[g]
    return labels


def _visible(truth: Truth, g: int, t: int) -> bool:
    return bool(truth.masks[g, t].any().item())


def _sample(maps: Tensor, points: Tensor) -> Tensor:
    return F.grid_sample(maps[:, None], 2 * points[:, None] - 1, align_corners=False)[:, 0, 0]
