"""Pooling of scores against a literal dictionary."""

import torch

from dvis_daq.tracker.bank import TrackBank
from dvis_daq.tracker.loop import track
from dvis_daq.tracker.pooling import BestScores
from tests.unit.tracker.tiny_tracker import LIFE, make_tracker, make_video

FRAMES = [[0, 1], [0, 1, 2], [1, 2], [2, 5]]


def pooled() -> tuple[BestScores, dict[int, list[torch.Tensor]]]:
    known: dict[int, list[torch.Tensor]] = {}
    pool = BestScores.start(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4))
    for ids in FRAMES:
        logits = 3 * torch.randn(len(ids), 4)
        pool = pool.add(torch.tensor(ids), logits)
        for one, row in zip(ids, logits.softmax(-1), strict=True):
            known.setdefault(one, []).append(row)
    return pool, known


def test_the_best_score_of_each_class() -> None:
    pool, known = pooled()
    for one, rows in known.items():
        torch.testing.assert_close(pool.of(torch.tensor([one]))[0], torch.stack(rows).amax(0))


def test_tracks_that_are_not_kept_are_forgotten() -> None:
    pool, _ = pooled()
    kept = pool.keep(torch.tensor([2, 5]))
    assert torch.equal(kept.of(torch.tensor([5])), pool.of(torch.tensor([5])))
    assert kept.ids.tolist() == [2, 5] and len(kept.best) == 2


def test_a_bank_that_is_drained_in_pieces_knows_the_scores_of_earlier_ones() -> None:
    with torch.no_grad():
        done = list(track(make_tracker(), LIFE, make_video(5)))
    whole, pieces = (TrackBank(dtype=None, scores=BestScores.start) for _ in range(2))
    last = {}
    for t, frame in enumerate(done):
        for bank in (whole, pieces):
            bank.add(frame.state, frame.step, frame.rows, frame.seen)
        if t % 2:
            part = pieces.drain()
            last |= dict(zip(part.ids.tolist(), part.scores, strict=True))
    part = pieces.drain()
    last |= dict(zip(part.ids.tolist(), part.scores, strict=True))
    everything = whole.drain()
    for one, scores in zip(everything.ids.tolist(), everything.scores, strict=True):
        torch.testing.assert_close(last[one], scores)
