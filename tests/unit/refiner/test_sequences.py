"""Tracks become sequences: what is filled with what, and which rows are taken."""

import pytest
import torch

from dvis_daq.refiner import SequenceBank, SequenceRules, TrackSequences, zero_padding
from dvis_daq.tracker.loop import track
from tests.unit.tracker.tiny_tracker import LIFE, make_tracker, make_video

EVERY = SequenceRules(max_tracks=100)


def collect(rules: SequenceRules, **options) -> tuple[SequenceBank, list]:
    bank = SequenceBank(rules, **options)
    with torch.no_grad():
        done = list(track(make_tracker(), LIFE, make_video(6)))
    for frame in done:
        bank.add(frame.state, frame.step, frame.rows, frame.frame)
    return bank, done


@pytest.mark.parametrize("padding", ["appearance", "zero"])
def test_tracks_are_filled_where_they_do_not_live(padding) -> None:
    rules = SequenceRules(max_tracks=100)
    if padding == "zero":
        rules = SequenceRules(max_tracks=100, padding=zero_padding)
    bank, done = collect(rules)
    tracks = bank.tracks()
    last: dict[int, torch.Tensor] = {}
    for frame in done:
        last |= dict(zip(frame.state.ids.tolist(), frame.state.appearance.mean, strict=True))
    assert tracks.padded.any()
    for n in range(len(tracks)):
        for t, frame in enumerate(done):
            row = (frame.state.ids == n).nonzero()
            assert tracks.padded[n, t] == (len(row) == 0)
            expected = last[n] if padding == "appearance" else torch.zeros_like(last[n])
            if len(row):
                expected = frame.step.queries[frame.rows[row.item()]]
            torch.testing.assert_close(tracks.queries[n, t], expected)


def test_chains_fill_up_to_the_number_of_candidates() -> None:
    bank, _ = collect(SequenceRules(max_tracks=2), keep_masks=True)
    filled, every = bank.sequences(), len(collect(EVERY)[0].tracks())
    assert len(filled) == 6
    assert (filled.ids[:2] < every).all()
    assert (filled.ids[2:] >= every).all()
    assert not filled.padded[2:].any()
    assert filled.masks.shape == (6, 6, 4, 6)
    alone, _ = collect(SequenceRules(max_tracks=2, chains=False))
    assert len(alone.sequences()) == 2


def test_more_tracks_than_candidates_are_kept() -> None:
    bank, _ = collect(SequenceRules(max_tracks=100))
    assert len(bank.sequences()) == len(bank.tracks()) > 6


def test_the_best_tracks_are_taken() -> None:
    best = collect(SequenceRules(max_tracks=3, chains=False), keep_masks=True)[0].sequences()
    tracks = collect(EVERY, keep_masks=True)[0].tracks()
    scores = tracks.logits.softmax(-1)[:, :-1].amax(1)
    assert best.ids.tolist() == scores.argsort(descending=True)[:3].tolist()
    for name in ("queries", "logits", "padded", "masks"):
        torch.testing.assert_close(getattr(best, name), getattr(tracks, name)[best.ids])


def test_rules_choose_what_the_tracks_read() -> None:
    bank, done = collect(SequenceRules(max_tracks=9, candidates=lambda f: 3 * f.embeds))
    expected = torch.cat([3 * frame.frame.embeds for frame in done])
    torch.testing.assert_close(bank.candidates, expected)


def test_join_without_masks_of_one_side() -> None:
    one = TrackSequences(
        torch.zeros(1, dtype=torch.int64), torch.zeros(1, 2, 3), torch.zeros(1, 4),
        torch.zeros(1, 2, dtype=torch.bool),
    )  # fmt: skip
    assert one.join(one).masks is None
