import math

import pytest
import torch

from dvis_daq.layers.points import sample_points
from dvis_daq.structures import Assignment
from dvis_daq.training import losses
from dvis_daq.training.losses import (
    LossWeights,
    class_loss,
    dice_loss,
    layer_losses,
    mask_loss,
    set_loss,
    supervise,
)
from dvis_daq.training.points import PointSampler
from tests.unit.training.toys import CLASSES, FixedPoints, toy_predictions, toy_targets

HOW = {"weights": LossWeights(), "points": FixedPoints()}
PAIRS = Assignment(torch.tensor([3, 0, 4]), torch.tensor([0, 2, 1]))


def item(seed: int = 1, visible: tuple[int, ...] = (1, 0, 1), layers: int = 2, positive=True):
    """Five rows, three objects."""
    said = toy_predictions(layers, 5, seed=seed)
    targets = toy_targets([[seen] for seen in visible])
    shown = targets.visible[:, 0] if positive else None
    return said, targets, supervise(said, targets, PAIRS, positive=shown)


def test_rows_of_invisible_objects_are_background():
    said, _, wanted = item()
    assert wanted.labels.tolist() == [2, CLASSES, CLASSES, 0, CLASSES]
    assert torch.equal(wanted.masks, said.masks[:, [3, 0], 0])
    assert wanted.count == 3  # the released denominator counts all pairs


def test_all_objects_positive():
    _, _, wanted = item(positive=False)
    assert wanted.labels.tolist() == [2, CLASSES, CLASSES, 0, 1]
    assert wanted.truth[2].sum() == 0  # absent: its class and an empty mask


def test_losses_equal_the_literal_loop():
    items = [item(1), item(2, (1, 1, 0))]
    ours = layer_losses([wanted for *_, wanted in items], **HOW)
    for layer in range(2):
        ce = weight = mask = dice = 0.0
        for said, targets, wanted in items:
            for n, label in enumerate(wanted.labels.tolist()):
                w = 0.1 if label == CLASSES else 1.0
                ce -= w * said.logits[layer, n].log_softmax(-1)[label].item()
                weight += w
            for n, g in zip(*(part.tolist() for part in PAIRS), strict=True):
                if targets.visible[g, 0]:
                    m, d = literal_mask_losses(said.masks[layer, n, 0], targets.masks[g, 0])
                    mask, dice = mask + m, dice + d
        assert ours.class_[layer].item() == pytest.approx(2 * ce / weight)
        assert ours.mask[layer].item() == pytest.approx(5 * mask / 6)
        assert ours.dice[layer].item() == pytest.approx(5 * dice / 6)


def literal_mask_losses(logits, truth) -> tuple[float, float]:
    where = FixedPoints().uniform(1, like=logits)
    xs = sample_points(logits[None], where)[0].tolist()
    ts = sample_points(truth[None], where)[0].tolist()
    ss = [1 / (1 + math.exp(-x)) for x in xs]
    pairs = list(zip(ss, ts, strict=True))
    cross = -sum(t * math.log(s) + (1 - t) * math.log(1 - s) for s, t in pairs) / len(pairs)
    dice = 1 - (2 * sum(s * t for s, t in pairs) + 1) / (sum(ss) + sum(ts) + 1)
    return cross, dice


def test_class_loss_is_torchs_weighted_mean():
    logits, labels = torch.randn(3, 6, 5), torch.tensor([0, 4, 4, 2, 1, 4])
    total, norm = class_loss(logits, labels, 0.1)
    weight = torch.tensor([1, 1, 1, 1, 0.1])
    for layer in range(3):
        expected = torch.nn.functional.cross_entropy(logits[layer], labels, weight=weight)
        torch.testing.assert_close(total[layer] / norm, expected)


def test_perfect_masks_cost_nothing():
    truth = (torch.rand(4, 50) > 0.5).float()
    samples = 200 * (truth - 0.5)
    assert mask_loss(samples, truth).max() < 1e-6 and dice_loss(samples, truth).max() < 1e-6


def test_names_are_the_released_ones():
    named = set_loss([item()[2]], **HOW, prefix="slot_")
    parts = ("ce", "mask", "dice")
    assert list(named) == [f"slot_loss_{part}{end}" for part in parts for end in ("_0", "")]
    values = layer_losses([item()[2]], **HOW)
    assert named["slot_loss_ce"] == values.class_[-1]
    assert named["slot_loss_mask_0"] == values.mask[0]


def test_each_layer_is_its_own_loss():
    said, targets, wanted = item(layers=3)
    together = layer_losses([wanted], **HOW)
    for layer in range(3):
        one = type(said)(said.logits[layer : layer + 1], said.masks[layer : layer + 1])
        alone = layer_losses(
            [supervise(one, targets, PAIRS, positive=targets.visible[:, 0])], **HOW
        )
        for ours, theirs in zip(together, alone, strict=True):
            torch.testing.assert_close(ours[layer], theirs[0])


def test_weights_scale_the_losses():
    heavy = LossWeights(class_=4, mask=10, dice=15)
    light = layer_losses([item()[2]], **HOW)
    ours = layer_losses([item()[2]], weights=heavy, points=FixedPoints())
    for value, base, factor in zip(ours, light, (2, 2, 3), strict=True):
        torch.testing.assert_close(value, factor * base)


@pytest.mark.parametrize("points", [FixedPoints(), PointSampler(num_points=16)])
def test_no_visible_object_gives_zeros_with_a_gradient(points):
    said, _, wanted = item(visible=(0, 0, 0))
    ours = layer_losses([wanted], weights=LossWeights(), points=points)
    assert ours.mask.tolist() == ours.dice.tolist() == [0, 0]
    sum(value.sum() for value in ours).backward()
    assert said.masks.grad is not None and said.masks.grad.abs().sum() == 0
    assert said.logits.grad.abs().sum() > 0


def test_what_is_not_finite_stays_so():
    said, targets, _ = item()
    with torch.no_grad():
        said.logits[1, 2] = float("nan")
    wanted = supervise(said, targets, PAIRS, positive=targets.visible[:, 0])
    assert layer_losses([wanted], **HOW).class_.isnan().tolist() == [False, True]


def test_maps_of_several_sizes_go_into_one_loss():
    one, other = item(1)[2], item(2)[2]
    half = type(other)(
        other.logits, other.labels, other.masks[..., ::2, ::2], other.truth, 1, other.count
    )
    ours = layer_losses([one, half], **HOW)
    parts = [layer_losses([part], **HOW) for part in (one, half)]
    for name in ("mask", "dice"):
        mean = sum(getattr(part, name) for part in parts) / 2
        torch.testing.assert_close(getattr(ours, name), mean)


def test_two_processes_give_the_gradients_of_one(monkeypatch):
    """DistributedDataParallel averages gradients; the denominators allow for that."""
    frames = ((1, (1, 0, 1)), (2, (0, 0, 0)))
    totals = []
    monkeypatch.setattr(losses, "sum_over_ranks", lambda x: (totals.append(x), (x, 1))[1])
    shares = [item(*frame) for frame in frames]
    for *_, wanted in shares:
        layer_losses([wanted], **HOW)
    both = sum(totals)
    monkeypatch.setattr(losses, "sum_over_ranks", lambda x: (both, 2))
    for *_, wanted in shares:
        sum(value.sum() for value in layer_losses([wanted], **HOW)).backward()
    averaged = [(said.logits.grad / 2, said.masks.grad / 2) for said, *_ in shares]

    monkeypatch.undo()
    whole = [item(*frame) for frame in frames]
    sum(v.sum() for v in layer_losses([wanted for *_, wanted in whole], **HOW)).backward()
    for (said, *_), (logits, masks) in zip(whole, averaged, strict=True):
        torch.testing.assert_close(said.logits.grad, logits)
        torch.testing.assert_close(said.masks.grad, masks)


def test_the_sum_over_real_processes(tmp_path):
    totals = torch.tensor([2.0, 3.0])
    assert losses.sum_over_ranks(totals)[1] == 1
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1
    )
    try:
        summed, ranks = losses.sum_over_ranks(totals)
    finally:
        torch.distributed.destroy_process_group()
    assert ranks == 1 and torch.equal(summed, totals) and summed is not totals


def test_one_pair_between_two_processes_counts_fully(monkeypatch):
    said, targets, _ = item()
    pair = Assignment(torch.tensor([1]), torch.tensor([0]))
    wanted = supervise(said, targets, pair)
    alone = layer_losses([wanted], **HOW)
    monkeypatch.setattr(losses, "sum_over_ranks", lambda x: (x, 2))  # the other has none
    torch.testing.assert_close(layer_losses([wanted], **HOW).mask / 2, alone.mask)


def test_bad_calls():
    with pytest.raises(ValueError, match="at least one frame"):
        layer_losses([], **HOW)
    with pytest.raises(ValueError, match="differ in frames"):
        supervise(toy_predictions(1, 5, frames=2), toy_targets([[1]] * 3), PAIRS)
