"""Each kind of noise by its definition, and how often it comes."""

import pytest
import torch

from dvis_daq.training.noise import MIXES, NoiseSource, QueryNoise, channel_cut

CANDIDATES = torch.arange(24.0, dtype=torch.float64).view(6, 4)


class Fixed(NoiseSource):
    def __init__(self, shares: list[float]) -> None:
        super().__init__()
        self._shares = torch.tensor(shares, dtype=torch.float64)

    def permutation(self, n: int) -> torch.Tensor:
        return (torch.arange(n) + 1) % n

    def shares(self, n: int) -> torch.Tensor:
        return self._shares


SHARES = [0.0, 0.25, 0.49, 0.5, 0.75, 0.99]
OTHER = [1, 2, 3, 4, 5, 0]


def test_shuffle_takes_others() -> None:
    start = MIXES["rs"](CANDIDATES, Fixed(SHARES))
    assert start.candidates.tolist() == OTHER
    assert torch.equal(start.queries, CANDIDATES[OTHER])


def test_weighted_average_stands_for_the_heavier() -> None:
    start = MIXES["wa"](CANDIDATES, Fixed(SHARES))
    assert start.candidates.tolist() == [1, 2, 3, 3, 4, 5]
    for row, (share, other) in enumerate(zip(SHARES, OTHER, strict=True)):
        expected = share * CANDIDATES[row] + (1 - share) * CANDIDATES[other]
        torch.testing.assert_close(start.queries[row], expected)


def test_channel_cut_takes_the_first_channels_of_itself() -> None:
    start = channel_cut(CANDIDATES, Fixed(SHARES))
    cuts = [0, 1, 1, 2, 3, 3]
    assert start.candidates.tolist() == [1, 2, 3, 3, 4, 5]
    for row, (cut, other) in enumerate(zip(cuts, OTHER, strict=True)):
        assert torch.equal(start.queries[row, :cut], CANDIDATES[row, :cut])
        assert torch.equal(start.queries[row, cut:], CANDIDATES[other, cut:])


@pytest.mark.parametrize("mode", MIXES)
def test_noise_is_made_by_its_generator(mode) -> None:
    def disturbed(seed: int):
        source = NoiseSource(torch.Generator().manual_seed(seed))
        return QueryNoise(MIXES[mode], 1.0, source)(CANDIDATES)

    assert torch.equal(disturbed(3).queries, disturbed(3).queries)
    assert not torch.equal(disturbed(3).queries, disturbed(4).queries)
    assert disturbed(3).candidates.max() < 6


def test_ratio() -> None:
    source = NoiseSource(torch.Generator().manual_seed(0))
    noise = QueryNoise(MIXES["rs"], 0.25, source)
    hits = sum(noise(CANDIDATES) is not None for _ in range(400))
    assert 70 < hits < 130
    assert QueryNoise(MIXES["rs"], 0.0, source)(CANDIDATES) is None
