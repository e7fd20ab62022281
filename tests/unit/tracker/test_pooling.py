"""Pooling of logits against a literal dictionary."""

import pytest
import torch

from dvis_daq.tracker.pooling import BestScores, MeanLogits

FRAMES = [[0, 1], [0, 1, 2], [1, 2], [2, 5]]


def said() -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(torch.tensor(ids), 3 * torch.randn(len(ids), 4)) for ids in FRAMES]


@pytest.mark.parametrize("rule", [MeanLogits, BestScores])
def test_means_and_best_scores_of_each_track(rule) -> None:
    frames, known = said(), {}
    pool = rule.start(*frames[0])
    for ids, logits in frames:
        pool = pool.add(ids, logits)
        for track, row in zip(ids.tolist(), logits, strict=True):
            known.setdefault(track, []).append(row)
    logits, scores = pool.of(torch.tensor([1, 2, 5]))
    for row, track in enumerate((1, 2, 5)):
        rows = torch.stack(known[track])
        torch.testing.assert_close(logits[row], rows.mean(0))
        if rule is BestScores:
            torch.testing.assert_close(scores[row], rows.softmax(-1).amax(0))
    assert (scores is None) == (rule is MeanLogits)


def test_tracks_that_are_not_kept_are_forgotten() -> None:
    frames = said()
    pool = BestScores.start(*frames[0])
    for frame in frames:
        pool = pool.add(*frame)
    kept = pool.keep(torch.tensor([2, 5]))
    torch.testing.assert_close(kept.of(torch.tensor([5])), pool.of(torch.tensor([5])))
    assert kept.means.ids.tolist() == [2, 5] and len(kept.best) == 2
