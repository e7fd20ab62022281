"""MaskHead and mask_pool."""

import pytest
import torch

from dvis_daq.layers import MaskHead, mask_pool


def test_head_reads_classes_and_masks_off_normalised_queries():
    head = MaskHead(hidden_dim=16, num_classes=3, mask_dim=8)
    x, features = torch.randn(2, 5, 16), torch.randn(4, 8, 6, 7)
    predictions = head(x, features)
    assert predictions.logits.shape == (2, 5, 4)
    assert predictions.masks.shape == (2, 5, 4, 6, 7)
    query = head.norm(x[1, 2])
    torch.testing.assert_close(predictions.logits[1, 2], head.class_embed(query))
    mask = (head.mask_embed(query)[:, None, None] * features[3]).sum(0)
    torch.testing.assert_close(predictions.masks[1, 2, 3], mask, rtol=1e-4, atol=1e-5)


def test_head_of_no_queries():
    head = MaskHead(hidden_dim=16, num_classes=3, mask_dim=8)
    assert head(torch.zeros(2, 0, 16), torch.randn(1, 8, 6, 7)).masks.shape == (2, 0, 1, 6, 7)


def test_pool_is_the_mean_over_the_foreground():
    features, masks = torch.randn(8, 6, 7), torch.randn(5, 6, 7)
    masks[3] = -1.0
    pooled = mask_pool(features, masks)
    for n in (0, 1, 2, 4):
        torch.testing.assert_close(pooled[n], features[:, masks[n] > 0].mean(1))
    assert not pooled[3].any()


def test_pool_of_half_precision_does_not_overflow():
    features = torch.full((2, 300, 300), 100.0, dtype=torch.float16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = mask_pool(features, torch.ones(1, 300, 300))
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled, torch.full((1, 2), 100.0))


def test_pool_names_both_shapes_of_a_mismatch():
    with pytest.raises(ValueError, match=r"\(8, 6, 7\) and masks \(5, 6, 8\)"):
        mask_pool(torch.randn(8, 6, 7), torch.randn(5, 6, 8))
