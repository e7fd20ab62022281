"""The item loss against literal loops, and what happens without items or negatives."""

import math

import pytest
import torch

from dvis_daq.training.contrastive import (
    ContrastiveItem,
    ContrastiveLosses,
    contrastive_losses,
    item_losses,
)


def _item(seed: int, positives: int, negatives: int) -> ContrastiveItem:
    generator = torch.Generator().manual_seed(seed)

    def make(*shape: int) -> torch.Tensor:
        values = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return values.requires_grad_()

    return ContrastiveItem(make(6), make(positives, 6), make(negatives, 6))


@pytest.mark.parametrize(("positives", "negatives"), [(1, 5), (4, 3), (2, 1)])
def test_item_equals_the_sums_written_out(positives, negatives):
    item = _item(0, positives, negatives)
    pairs = 0.0
    for n in item.negatives:
        for p in item.positives:
            pairs += math.exp(torch.dot(item.anchor, n - p).item())
    squares = []
    for side, wanted in ((item.positives, 1), (item.negatives, 0)):
        for x in side:
            cosine = torch.dot(item.anchor, x) / (item.anchor.norm() * x.norm())
            squares.append((cosine - wanted) ** 2)
    found = item_losses([item])
    assert found.contrastive.item() == pytest.approx(math.log(1 + pairs))
    assert found.auxiliary.item() == pytest.approx(torch.stack(squares).mean().item())


def test_losses_are_means_over_items_and_every_side_learns():
    items = [_item(1, 1, 4), _item(2, 3, 2)]
    each, mean = item_losses(items), contrastive_losses(items, embeddings=[])
    torch.testing.assert_close(mean.contrastive, each.contrastive.mean())
    torch.testing.assert_close(mean.auxiliary, each.auxiliary.mean())
    (mean.contrastive + mean.auxiliary).backward()
    assert all(x.grad.abs().sum() > 0 for item in items for x in item)


def test_an_item_without_negatives_has_no_contrastive_loss():
    item = _item(3, 2, 0)
    losses = contrastive_losses([item], embeddings=[])
    assert losses.contrastive == 0
    losses.contrastive.backward()
    assert all(torch.isfinite(x.grad).all() for x in item[:2])


def test_no_items_give_zeros_that_keep_the_graph():
    embeddings = torch.ones(3, 4, requires_grad=True)
    losses = contrastive_losses([], embeddings=[embeddings])
    assert losses == ContrastiveLosses(torch.tensor(0.0), torch.tensor(0.0))
    (losses.contrastive + losses.auxiliary).backward()
    assert (embeddings.grad == 0).all()


def test_large_dot_products_stay_finite():
    a = torch.full((4,), 100.0)
    found = item_losses([ContrastiveItem(a, -a[None], a[None])])
    assert found.contrastive.item() == pytest.approx(80000)


def test_names_and_weights():
    losses = ContrastiveLosses(torch.tensor(2.0), torch.tensor(3.0))
    assert losses.named(2.0, 3.0) == {"loss_reid": 4.0, "loss_aux_reid": 9.0}
    assert losses.named(2.0, 0.0) == {"loss_reid": 4.0}
