"""The refiner: invariances, and what padding may and may not touch."""

import pytest
import torch

from dvis_daq.refiner import TemporalRefiner, larger_scores
from dvis_daq.refiner.refiner import hide

WIDTH, MASK_DIM, CLASSES = 16, 8, 3


def make_refiner(**options) -> TemporalRefiner:
    torch.manual_seed(0)
    refiner = TemporalRefiner(
        hidden_dim=WIDTH,
        mask_dim=MASK_DIM,
        num_classes=CLASSES,
        layers=2,
        heads=2,
        feedforward_dim=32,
        **options,
    )
    return refiner.double().eval()


def inputs(frames: int = 5, tracks: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    shape = (frames, tracks + 6, WIDTH)
    both = torch.randn(shape, generator=random, dtype=torch.float64)
    return both[:, :tracks], both[:, tracks:]


def padding() -> torch.Tensor:
    """(T, N): track 1 is born late, track 2 dies early, frame 4 has track 0 alone."""
    padded = torch.zeros(5, 4, dtype=torch.bool)
    padded[:3, 1] = padded[3:, 2] = padded[4, 1:] = True
    return padded


@pytest.mark.parametrize("local_conv", [False, True])
def test_order_of_tracks_does_not_matter(local_conv) -> None:
    refiner, (tracks, candidates) = make_refiner(local_conv=local_conv), inputs()
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(
        refiner(tracks, candidates)[:, :, order], refiner(tracks[:, order], candidates)
    )


def test_without_convolution_time_has_no_direction() -> None:
    tracks, candidates = inputs()
    for local_conv, same in ((False, True), (True, False)):
        refiner = make_refiner(local_conv=local_conv)
        back = refiner(tracks.flip(0), candidates.flip(0)).flip(1)
        assert torch.allclose(refiner(tracks, candidates), back) == same


def test_masks_may_be_decoded_in_pieces() -> None:
    refiner, (tracks, candidates) = make_refiner(), inputs()
    features = torch.randn(5, MASK_DIM, 3, 4, dtype=torch.float64)
    refined = refiner(tracks, candidates)
    whole = refiner.predict(refined, features).masks
    pieces = [refiner.masks(refined[:, t : t + 2], features[t : t + 2]) for t in (0, 2, 4)]
    torch.testing.assert_close(torch.cat(pieces, dim=2), whole)


def test_all_layers_in_training_the_last_otherwise() -> None:
    refiner, (tracks, candidates) = make_refiner(), inputs()
    last = refiner(tracks, candidates)
    layers = refiner.train()(tracks, candidates)
    assert (len(last), len(layers)) == (1, 2)
    torch.testing.assert_close(layers[-1:], last)


def test_hidden_padding_does_not_reach_what_is_seen() -> None:
    """What stands in a padded frame changes no other frame of any track, and nothing is NaN."""
    refiner, (tracks, candidates), padded = make_refiner(hide_padding=True), inputs(), padding()
    other = torch.where(padded[..., None], torch.randn_like(tracks), tracks)
    one, two = refiner(tracks, candidates, padded), refiner(other, candidates, padded)
    torch.testing.assert_close(one[:, ~padded], two[:, ~padded])
    assert one.isfinite().all()
    seen = make_refiner()
    assert not torch.allclose(
        seen(tracks, candidates, padded)[:, ~padded], seen(other, candidates, padded)[:, ~padded]
    )


def test_every_row_sees_something() -> None:
    hidden = hide(torch.ones(5, 4, dtype=torch.bool))
    assert not hidden.among_tracks.all(-1).any()


def test_learned_padding_replaces_padded_frames_and_learns() -> None:
    refiner, (tracks, candidates), padded = make_refiner(learned_padding=True), inputs(), padding()
    filled = torch.where(padded[..., None], refiner.padding_query.weight, tracks)
    refined = refiner(tracks, candidates, padded)
    torch.testing.assert_close(refined, refiner(filled, candidates))
    refined.sum().backward()
    assert refiner.padding_query.weight.grad is not None
    refiner.zero_grad()
    refiner(tracks, candidates, torch.zeros_like(padded)).sum().backward()
    assert (refiner.padding_query.weight.grad == 0).all()  # DDP waits for a gradient all the same


def test_larger_scores_keep_the_background_of_the_refiner() -> None:
    refined, online = torch.randn(2, 3, CLASSES + 1).unbind()
    scores = larger_scores(refined, online)
    torch.testing.assert_close(scores[:, -1], refined.softmax(-1)[:, -1])
    assert (scores[:, :-1] >= online.softmax(-1)[:, :-1]).all()
    assert (scores[:, :-1] >= refined.softmax(-1)[:, :-1]).all()
