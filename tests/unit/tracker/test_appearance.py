import torch
from torch.nn import functional as F

from dvis_daq.tracker.appearance import AppearanceMemory

WINDOW = 3
ALL = torch.tensor([True, True])


def random_features(frames: int) -> torch.Tensor:
    return torch.randn(frames, 2, 6, dtype=torch.float64)


def after(features: torch.Tensor) -> AppearanceMemory:
    memory = AppearanceMemory.start(features[0], WINDOW)
    for feature in features[1:]:
        memory = memory.observe(feature, ALL)
    return memory


def literal_mean(sequence: list[torch.Tensor], window: int) -> torch.Tensor:
    """Eq. 4-5 for one track, written out."""
    mean = sequence[0]
    for t in range(1, len(sequence)):
        earlier = sequence[max(0, t - window) : t]
        cosines = [F.cosine_similarity(e, sequence[t], dim=0) for e in earlier]
        beta = max(torch.tensor(0.0), sum(cosines) / len(cosines))
        mean = (1 - beta) * mean + beta * sequence[t]
    return mean


def test_equals_a_loop_over_tracks() -> None:
    features = random_features(8)
    memory = after(features)
    for n in range(2):
        torch.testing.assert_close(memory.mean[n], literal_mean(list(features[:, n]), WINDOW))
    assert memory.count.tolist() == [8, 8]


def test_an_unseen_track_keeps_every_bit() -> None:
    before = after(random_features(4))
    memory = before.observe(torch.randn(2, 6, dtype=torch.float64), torch.tensor([True, False]))
    for old, new in zip(vars(before).values(), vars(memory).values(), strict=True):
        assert torch.equal(old[1], new[1])
        assert not torch.equal(old[0], new[0])


def test_follows_only_what_resembles_the_past() -> None:
    feature = torch.eye(2, dtype=torch.float64)
    memory = AppearanceMemory.start(feature, WINDOW)
    assert torch.equal(memory.observe(5 * feature.flip(1), ALL).mean, feature)  # beta = 0
    torch.testing.assert_close(memory.observe(5 * feature, ALL).mean, 5 * feature)  # beta = 1


def test_select_and_join_keep_rows_together() -> None:
    memory = after(random_features(5))
    order = torch.tensor([1, 0])
    swapped = memory.select(order)
    rejoined = memory.select(ALL & False).join(swapped.select(order))
    for value, again in zip(vars(memory).values(), vars(rejoined).values(), strict=True):
        assert torch.equal(value, again)
        assert torch.equal(value[order], getattr(swapped, _name_of(memory, value)))


def _name_of(memory: AppearanceMemory, value: torch.Tensor) -> str:
    return next(name for name, v in vars(memory).items() if v is value)


def test_gradient_flows_through_all_frames() -> None:
    features = random_features(3).abs().requires_grad_()
    after(features).mean.sum().backward()
    assert (features.grad.abs().sum((1, 2)) > 0).all()
