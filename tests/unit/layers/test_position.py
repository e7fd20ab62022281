import math

import pytest
import torch

from dvis_daq.layers import sine_position_2d


def test_equals_the_formula_channel_by_channel():
    position = sine_position_2d(3, 5, 16, dtype=torch.float64)
    assert position.shape == (16, 3, 5)
    for channel in range(16):
        half, j = divmod(channel, 8)
        wave = math.sin if j % 2 == 0 else math.cos
        for y in range(3):
            for x in range(5):
                k, n = ((y, 3), (x, 5))[half]
                angle = (k + 1) / (n + 1e-6) * 2 * math.pi / 1e4 ** (2 * (j // 2) / 8)
                assert position[channel, y, x].item() == pytest.approx(wave(angle), abs=1e-12)


def test_width_must_be_a_multiple_of_four():
    with pytest.raises(ValueError, match="not 6"):
        sine_position_2d(2, 2, 6)


def test_half_precision_is_rounded_once():
    """Counting pixels in bfloat16 would miss by more than a pixel."""
    exact = sine_position_2d(60, 200, 32)
    rounded = sine_position_2d(60, 200, 32, dtype=torch.bfloat16)
    assert torch.equal(rounded, exact.bfloat16())
