import math

import pytest
import torch
from torch import nn

from dvis_daq.layers import (
    MLP,
    CrossAttention,
    FeedForward,
    MultiheadAttention,
    QuerySoftmaxAttention,
    SelfAttention,
    shares_of_keys,
    shares_of_queries,
)

DIM, HEADS = 16, 4


@pytest.fixture
def pair() -> tuple[MultiheadAttention, nn.MultiheadAttention]:
    """Ours and PyTorch's with the same weights."""
    theirs = nn.MultiheadAttention(DIM, HEADS, batch_first=True).double()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.5)
    ours = MultiheadAttention(DIM, HEADS).double()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


def test_equals_torch_with_and_without_a_mask(pair):
    ours, theirs = pair
    query, key, value = (torch.randn(3, n, DIM).double() for n in (5, 7, 7))
    blocked = torch.rand(5, 7) < 0.4
    blocked[:, 0] = False
    for mask in (None, blocked):
        expected = theirs(query, key, value, attn_mask=mask, need_weights=False)[0]
        torch.testing.assert_close(ours(query, key, value, mask), expected)


def test_leading_axes_are_independent(pair):
    ours, _ = pair
    query, memory = torch.randn(2, 3, 5, DIM).double(), torch.randn(2, 3, 7, DIM).double()
    blocked = torch.rand(2, 3, 5, 7) < 0.4
    blocked[..., 0] = False
    together = ours(query, memory, memory, blocked)
    one = ours(query[1, 2], memory[1, 2], memory[1, 2], blocked[1, 2])
    torch.testing.assert_close(together[1, 2], one)


def test_a_blocked_key_has_no_influence(pair):
    ours, _ = pair
    query, memory = torch.randn(5, DIM).double(), torch.randn(7, DIM).double()
    blocked = torch.arange(7) == 3  # (S,): for all queries
    before = ours(query, memory, memory, blocked)
    memory[3] += 10
    torch.testing.assert_close(ours(query, memory, memory, blocked), before)
    assert not torch.allclose(ours(query, memory, memory), before)


def test_positions_enter_queries_and_keys_but_not_values():
    x, memory = torch.randn(5, DIM), torch.randn(7, DIM)
    position, memory_position = torch.randn(5, DIM), torch.randn(7, DIM)
    cross = CrossAttention(DIM, HEADS)
    read = cross.multihead_attn(x + position, memory + memory_position, memory)
    actual = cross(x, memory, position=position, memory_position=memory_position)
    torch.testing.assert_close(actual, cross.norm(x + read))
    alone = SelfAttention(DIM, HEADS)
    read = alone.self_attn(x + position, x + position, x)
    torch.testing.assert_close(alone(x, position), alone.norm(x + read))


@pytest.mark.parametrize(
    "block", [SelfAttention(DIM, HEADS), FeedForward(DIM, 32)], ids=["self", "ffn"]
)
def test_no_rows_pass_forward_and_backward(block):
    x = torch.zeros(0, DIM, requires_grad=True)
    out = block(x)
    out.sum().backward()
    assert out.shape == x.grad.shape == (0, DIM)
    assert all(p.grad is not None for p in block.parameters())


def test_no_rows_read_a_memory():
    x, memory = torch.zeros(0, DIM), torch.randn(7, DIM)
    blocked = torch.zeros(7, dtype=torch.bool)
    assert CrossAttention(DIM, HEADS)(x, memory, blocked=blocked).shape == (0, DIM)
    tracker_2 = QuerySoftmaxAttention(DIM, HEADS)
    assert tracker_2(x, memory, position=x, anchors=x).shape == (0, DIM)


def test_query_softmax_attention_equals_its_definition():
    block = QuerySoftmaxAttention(DIM, HEADS).double()
    x, position, anchors, memory = (torch.randn(n, DIM).double() for n in (5, 5, 5, 7))
    read = block.multihead_attn(x + position, memory, memory)
    key = block.slot_attn.project_k(block.slot_attn.norm_inputs(x + read))
    query = block.slot_attn.project_q(anchors)
    update = torch.zeros_like(read)
    share = torch.empty(5, 5).double()
    for n in range(5):
        logits = torch.stack([key[n] @ query[m] for m in range(5)]) / math.sqrt(DIM)
        share[n] = logits.softmax(0) + 1e-6
    for m in range(5):
        for n in range(5):
            update[m] += share[n, m] / share[:, m].sum() * read[n]
    actual = block(x, memory, position=position, anchors=anchors)
    torch.testing.assert_close(actual, block.norm(x + update))


def test_along_the_keys_an_anchor_does_not_depend_on_its_rivals():
    """Tab. A4a: with the softmax along the queries it does."""
    x, memory, anchors = torch.randn(5, DIM), torch.randn(7, DIM), torch.randn(5, DIM)
    other = anchors.clone()
    other[0] = -anchors[0]
    for shares, competes in ((shares_of_queries, True), (shares_of_keys, False)):
        block = QuerySoftmaxAttention(DIM, HEADS, shares)
        said, changed = (block(x, memory, position=x, anchors=a) for a in (anchors, other))
        assert not torch.allclose(said[0], changed[0])
        assert torch.allclose(said[1:], changed[1:]) != competes


def test_query_softmax_attention_hides_candidates():
    block = QuerySoftmaxAttention(DIM, HEADS)
    x, memory = torch.randn(5, DIM), torch.randn(7, DIM)
    blocked = torch.arange(7) == 3
    before = block(x, memory, position=x, anchors=x, blocked=blocked)
    memory[3] += 10
    torch.testing.assert_close(block(x, memory, position=x, anchors=x, blocked=blocked), before)


def test_released_leaf_names():
    names = {name for name, _ in QuerySoftmaxAttention(DIM, HEADS).named_parameters()}
    slot = {"norm_inputs.weight", "norm_inputs.bias", "project_q.0.weight", "project_q.0.bias"}
    slot |= {"project_q.1.weight", "project_k.weight"}
    attention = {"in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"}
    assert names == (
        {f"slot_attn.{name}" for name in slot}
        | {f"multihead_attn.{name}" for name in attention}
        | {"norm.weight", "norm.bias"}
    )


def test_matrices_start_xavier_uniform():
    attention = MultiheadAttention(64, 8)
    bound = math.sqrt(6 / (64 + 3 * 64))
    assert 0.9 * bound < attention.in_proj_weight.abs().max() <= bound
    assert not attention.in_proj_bias.any() and not attention.out_proj.bias.any()
    assert FeedForward(64, 192).linear1.weight.abs().max() <= bound


def test_mlp_has_no_activation_after_its_last_layer():
    mlp = MLP(4, 8, 8, 3)
    x = torch.randn(100, 4)
    hidden = x
    for layer in mlp.layers[:-1]:
        hidden = torch.relu(layer(hidden))
    torch.testing.assert_close(mlp(x), mlp.layers[-1](hidden))
    assert mlp(x).min() < 0 and [m.out_features for m in mlp.layers] == [8, 8, 3]


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="width 10 cannot be split into 4 heads"):
        SelfAttention(10, 4)
