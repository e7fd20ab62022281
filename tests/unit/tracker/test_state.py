"""`advance` and the rules of acceptance, on made-up steps."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dvis_daq.structures import FrameOutputs, Predictions
from dvis_daq.tracker.state import (
    EndlessLife,
    Lifecycle,
    TrackerStep,
    TrackState,
    advance,
    mean_of_both,
    tracker_1,
    tracker_1_and_2,
)

WIDTH = 4


def start() -> TrackState:
    return TrackState.start(torch.zeros(0, WIDTH), torch.zeros(0, WIDTH), window=3)


def make_step(tracks: int, new: int, logits: torch.Tensor | None = None) -> TrackerStep:
    rows = tracks + new
    logits = torch.zeros(rows, 3) if logits is None else logits
    return TrackerStep(
        tracked=Predictions(logits[None], torch.zeros(1, rows, 1, 2, 2)),
        queries=torch.randn(rows, WIDTH),
        appearance=torch.randn(rows, WIDTH),
        num_tracked=tracks,
    )


def scored(*scores: float) -> torch.Tensor:
    """Logits (N, 3) of rows whose best real class has the given probability."""
    p = torch.tensor(scores)
    return torch.stack([p, torch.full_like(p, 1e-9), 1 - p], -1).clamp(min=1e-9).log()


@given(st.integers(0, 2**31), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_tracks_against_a_literal_simulation(seed: int, patience: int) -> None:
    """Ids are never reused, rows stay aligned, unseen tracks live exactly `patience` frames."""
    torch.manual_seed(seed)
    state, alive, born = start(), {}, 0  # id -> (query, position, missed)
    for frame in range(8):
        step = make_step(len(state), new=3)
        seen = torch.rand(len(state) + 3) < 0.4
        old = state
        state, rows = advance(state, step, seen, patience)
        literal = {}
        for row, track in enumerate(old.ids.tolist()):
            missed = 0 if seen[row] else alive[track] + 1
            if missed < patience:
                literal[track] = missed
        for row in range(len(old), len(seen)):
            if seen[row]:
                literal[born], born = 0, born + 1
        alive = literal
        assert dict(zip(state.ids.tolist(), state.missed.tolist(), strict=True)) == alive
        assert state.ids.tolist() == sorted(alive)
        assert torch.equal(state.queries, step.queries[rows])
        assert (state.next_id, state.frame) == (born, frame + 1)
        for row, track in enumerate(state.ids.tolist()):  # appearance goes with its track
            was = (old.ids == track).nonzero().flatten()
            if len(was) == 0:
                assert torch.equal(state.appearance.mean[row], step.appearance[rows[row]])
            elif not seen[was]:
                assert torch.equal(state.appearance.mean[row], old.appearance.mean[was[0]])
            else:
                assert state.appearance.count[row] == old.appearance.count[was] + 1


def test_patience_of_one_keeps_exactly_the_seen_rows() -> None:
    state, _ = advance(start(), make_step(0, 4), torch.ones(4, dtype=torch.bool), patience=1)
    seen = torch.tensor([True, False, True, False, False, True])
    state, rows = advance(state, make_step(4, 2), seen, patience=1)
    assert rows.tolist() == [0, 2, 5]
    assert state.ids.tolist() == [0, 2, 4]


def test_a_state_is_not_changed_by_what_follows() -> None:
    before, _ = advance(start(), make_step(0, 4), torch.ones(4, dtype=torch.bool), patience=2)
    values = [
        v.clone() for v in (before.ids, before.queries, before.missed, before.appearance.mean)
    ]
    advance(before, make_step(4, 2), torch.rand(6) < 0.5, patience=2)
    now = (before.ids, before.queries, before.missed, before.appearance.mean)
    assert all(torch.equal(a, b) for a, b in zip(values, now, strict=True))


@pytest.mark.parametrize(
    ("tracks", "entries", "message"), [(0, 3, "3.*2 rows"), (1, 3, "1 tracks.*holds 0")]
)
def test_mismatches_are_refused(tracks: int, entries: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        advance(start(), make_step(tracks, 2), torch.ones(entries, dtype=torch.bool), patience=1)


def judged(main: list[float], second: list[float]) -> TrackerStep:
    """Tracks and newcomers with scores of tracker 1; tracks, then one background row, of 2."""
    step = make_step(len(second), len(main) - len(second), scored(*main))
    rows = scored(*second, 0.9)[None]
    second = Predictions(rows, torch.zeros(1, rows.shape[1], 1, 2, 2))
    return TrackerStep(**(vars(step) | {"disappearing": second}))


def test_rules_of_acceptance() -> None:
    step = judged(main=[0.9, 0.9, 0.2, 0.9], second=[0.5, 0.1, 0.9])
    assert tracker_1(step, 0.4, 0.3).tolist() == [True, True, False, True]
    assert tracker_1_and_2(step, 0.4, 0.3).tolist() == [True, False, False, True]
    assert mean_of_both(step, 0.45, 0.3).tolist() == [True, True, True, True]
    assert mean_of_both(step, 0.7, 0.3).tolist() == [True, False, False, True]


@pytest.mark.parametrize("rule", [tracker_1, tracker_1_and_2, mean_of_both])
def test_rules_work_without_tracker_2(rule) -> None:
    step = make_step(0, 2, scored(0.9, 0.1))
    assert rule(step, 0.5, 0.3).tolist() == [True, False]


def candidates(logits: torch.Tensor) -> FrameOutputs:
    queries = logits.shape[0]
    return FrameOutputs(
        embeds=torch.zeros(1, queries, WIDTH),
        logits=logits[None],
        masks=torch.zeros(1, queries, 2, 2),
        mask_features=torch.zeros(1, 3, 2, 2),
        initial_queries=torch.zeros(queries, WIDTH),
    )


def test_the_segmenter_decides_in_the_first_frame() -> None:
    life = Lifecycle(accept=tracker_1, score=0.5, first_score=0.2)
    step, frame = make_step(0, 3, scored(0.1, 0.9, 0.1)), candidates(scored(0.3, 0.1, 0.9))
    assert life.seen(start(), step, frame).tolist() == [True, False, True]
    later = TrackState(**(vars(start()) | {"frame": 1}))  # no track, but not the first frame
    assert life.seen(later, step, frame).tolist() == [False, True, False]


def test_endless_life_sees_everything() -> None:
    step, frame = make_step(0, 3), candidates(scored(0.0, 0.0, 0.0))
    assert EndlessLife().seen(start(), step, frame).all()
