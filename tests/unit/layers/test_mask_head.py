"""Masks that are made of the rows that are asked for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dvis_daq.layers import MaskHead, mask_products
from dvis_daq.structures import MaskProducts, Predictions

LAYERS, ROWS, FRAMES, WIDTH, CLASSES = 3, 5, 2, 8, 4


def features() -> torch.Tensor:
    return torch.randn(FRAMES, WIDTH, 6, 7, dtype=torch.float64)


def embeds() -> torch.Tensor:
    return torch.randn(LAYERS, ROWS, WIDTH, dtype=torch.float64)


def test_embeddings_pass_the_projection_instead_of_the_features() -> None:
    projection, maps, rows = nn.Conv2d(WIDTH, WIDTH, 1).double(), features(), embeds()
    projected = torch.einsum("lnd,tdhw->lnthw", rows, projection(maps))
    torch.testing.assert_close(mask_products(rows, maps, projection).dense(), projected)


def test_gradients_of_the_projection_are_those_of_the_convolution() -> None:
    maps, rows = features(), embeds()
    grads = []
    for how in ("embeddings", "features"):
        torch.manual_seed(0)
        projection = nn.Conv2d(WIDTH, WIDTH, 1).double()
        if how == "embeddings":
            masks = mask_products(rows, maps, projection).dense()
        else:
            masks = mask_products(rows, projection(maps)).dense()
        masks.square().sum().backward()
        grads.append([parameter.grad for parameter in projection.parameters()])
    torch.testing.assert_close(grads[0], grads[1])


@pytest.mark.parametrize("offset", [None, torch.randn(LAYERS, ROWS, dtype=torch.float64)])
def test_rows_and_layers_are_chosen_before_masks_are_made(offset: torch.Tensor | None) -> None:
    products = MaskProducts(embeds(), features(), offset)
    said = Predictions(torch.zeros(LAYERS, ROWS, CLASSES + 1), products)
    whole = said.masks
    assert said.num_frames == FRAMES and products.shape == tuple(whole.shape)
    index, bools = torch.tensor([4, 0]), torch.arange(ROWS) < 2
    torch.testing.assert_close(said.final.masks, whole[-1:])
    torch.testing.assert_close(said.rows(index).masks, whole[:, index])
    torch.testing.assert_close(said.rows(bools).masks, whole[:, bools])
    torch.testing.assert_close(said[1:2, index].masks, whole[1:2, index])
    assert len(said.rows(torch.tensor([], dtype=torch.int64))) == 0


def test_training_says_the_same_as_evaluation() -> None:
    head, projection = MaskHead(WIDTH, CLASSES, WIDTH).double(), nn.Conv2d(WIDTH, WIDTH, 1).double()
    x, maps = embeds(), features()
    taught, run = (head.train(mode)(x, maps, projection) for mode in (True, False))
    assert isinstance(taught.source, MaskProducts) and isinstance(run.source, torch.Tensor)
    torch.testing.assert_close(taught.masks, run.masks)


def test_masks_of_other_rows_than_the_logits_are_refused() -> None:
    with pytest.raises(ValueError, match="masks"):
        Predictions(torch.zeros(LAYERS, ROWS + 1, CLASSES + 1), MaskProducts(embeds(), features()))
