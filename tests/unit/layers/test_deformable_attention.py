import math

import pytest
import torch
from torch import Tensor

from dvis_daq.layers import MSDeformableAttention, pixel_centres
from dvis_daq.layers.deformable_attention import sample_by_bags, sample_by_grid, sample_values

SIZES = [(2, 3), (5, 4), (7, 9)]
TOKENS = sum(h * w for h, w in SIZES)
FRAMES, QUERIES, HEADS, POINTS, WIDTH = 2, 3, 2, 4, 3


@pytest.fixture
def sampling() -> tuple[Tensor, list, Tensor, Tensor]:
    """Value, sizes, places (a third of them outside) and weights, in float64."""
    value = torch.randn(FRAMES, TOKENS, HEADS, WIDTH).double()
    places = torch.rand(FRAMES, HEADS, len(SIZES), POINTS, 2, QUERIES).double() * 12 - 3
    places[0, 0, 0, ..., 0] = torch.tensor([[-0.5, -0.5], [2.5, 1.5], [50, 0.5], [-30, 90.0]])
    weights = torch.rand(FRAMES, HEADS, len(SIZES), POINTS, QUERIES).double()
    return value, SIZES, places, weights


def literal(value: Tensor, sizes: list, places: Tensor, weights: Tensor) -> Tensor:
    """The definition: four neighbours by hand, one sample at a time."""
    out = torch.zeros(FRAMES, QUERIES, HEADS, WIDTH).double()
    maps = value.split([h * w for h, w in sizes], dim=1)
    for t, n, level, p, q in torch.cartesian_prod(
        *(torch.arange(size) for size in weights.shape)
    ).tolist():
        h, w = sizes[level]
        x, y = places[t, n, level, p, :, q].tolist()
        for row in (math.floor(y), math.floor(y) + 1):
            for column in (math.floor(x), math.floor(x) + 1):
                if 0 <= row < h and 0 <= column < w:
                    share = (1 - abs(y - row)) * (1 - abs(x - column))
                    pixel = maps[level][t, row * w + column, n]
                    out[t, q, n] += weights[t, n, level, p, q] * share * pixel
    return out.flatten(2)


@pytest.mark.parametrize("sampler", [sample_by_grid, sample_by_bags])
def test_samplers_equal_the_definition(sampler, sampling):
    torch.testing.assert_close(sampler(*sampling), literal(*sampling))


def test_gradients_are_the_slopes(sampling):
    value, sizes, places, weights = (x[:1] if isinstance(x, Tensor) else x for x in sampling)
    inputs = [x.clone().requires_grad_() for x in (value, places, weights)]
    assert torch.autograd.gradcheck(lambda v, p, w: sample_values(v, sizes, p, w), inputs)


def test_equals_its_definition_in_terms_of_the_layers():
    layer = MSDeformableAttention(8, heads=2, levels=3, points=4).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    query, memory = torch.randn(2, 5, 8).double(), torch.randn(2, TOKENS, 8).double()
    reference = torch.rand(5, 2).double()
    offsets = layer.sampling_offsets(query).view(2, 5, 2, 3, 4, 2)
    pixel = torch.tensor([[w, h] for h, w in SIZES]).double().view(3, 1, 2)
    # the definition has places in 0..1, and offsets in pixels
    places = (reference.view(1, 5, 1, 1, 1, 2) + offsets / pixel) * pixel - 0.5
    places = places.permute(0, 2, 3, 4, 5, 1)
    weights = layer.attention_weights(query).view(2, 5, 2, 12).softmax(-1)
    weights = weights.view(2, 5, 2, 3, 4).permute(0, 2, 3, 4, 1)
    value = layer.value_proj(memory).view(2, TOKENS, 2, 4)
    expected = layer.output_proj(sample_by_grid(value, SIZES, places, weights))
    torch.testing.assert_close(layer(query, reference, memory, SIZES), expected)
    with torch.no_grad():  # the other sampler
        torch.testing.assert_close(layer(query, reference, memory, SIZES), expected)


def test_heads_start_in_their_own_directions():
    layer = MSDeformableAttention(16, heads=8, levels=2, points=3)
    bias = layer.sampling_offsets.bias.view(8, 2, 3, 2)
    assert not layer.sampling_offsets.weight.any() and not layer.attention_weights.weight.any()
    torch.testing.assert_close(bias[0, 0], torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]))
    torch.testing.assert_close(bias[1, 1], torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]))
    torch.testing.assert_close(bias[6, 0, 2], torch.tensor([0.0, -3.0]), atol=1e-5, rtol=0)


def test_places_and_sums_are_float32_under_autocast():
    seen = {}

    def kernel(value, sizes, places, weights):
        seen.update(places=places.dtype, weights=weights.dtype)
        return sample_values(value, sizes, places, weights)

    layer = MSDeformableAttention(8, heads=2, levels=3, sampler=kernel)
    query, memory, reference = torch.randn(1, 5, 8), torch.randn(1, TOKENS, 8), torch.rand(5, 2)
    expected = layer(query, reference, memory, SIZES)
    for half, tolerance in ((torch.float16, 0), (torch.bfloat16, 0.1)):
        with torch.autocast("cpu", dtype=half):
            found = layer(query, reference, memory, SIZES)
            layer(query.to(half), reference, memory.to(half), SIZES)
        torch.testing.assert_close(found.float(), expected, atol=tolerance, rtol=tolerance)
        assert set(seen.values()) == {torch.float32}


def test_a_kernel_can_be_plugged_in():
    def kernel(value, sizes, places, weights):
        shapes = (tuple(x.shape) for x in (value, places, weights))
        assert list(shapes) == [(1, TOKENS, 2, 4), (1, 2, 3, 4, 2, 5), (1, 2, 3, 4, 5)]
        return value.new_ones(1, 5, 8)

    layer = MSDeformableAttention(8, heads=2, levels=3, sampler=kernel)
    out = layer(torch.randn(1, 5, 8), torch.rand(5, 2), torch.randn(1, TOKENS, 8), SIZES)
    torch.testing.assert_close(out, layer.output_proj(torch.ones(1, 5, 8)))


def test_pixel_centres():
    like = torch.zeros(1, dtype=torch.float64)
    expected = torch.tensor([[0.25, 0.5], [0.75, 0.5], [0.5, 0.25], [0.5, 0.75]]).double()
    torch.testing.assert_close(pixel_centres([(1, 2), (2, 1)], like), expected)
    half = pixel_centres([(1, 2), (2, 1)], like.bfloat16())
    torch.testing.assert_close(half, expected.float())  # never less than float32


def test_memory_must_be_made_of_the_maps():
    layer = MSDeformableAttention(8, heads=2, levels=3)
    with pytest.raises(ValueError, match=r"\(1, 10, 8\) is not made of 3 maps"):
        layer(torch.randn(1, 5, 8), torch.rand(5, 2), torch.randn(1, 10, 8), SIZES)
    with pytest.raises(ValueError, match="width 9 cannot be split"):
        MSDeformableAttention(9, heads=2)
