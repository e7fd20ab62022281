from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dvis_daq.evaluation.transitions import DEFINITION, Transitions, summarize, text
from dvis_daq.structures import ClipTargets, FrameOutputs, Predictions
from dvis_daq.tracker.daq import DAQTracker
from dvis_daq.tracker.loop import TrackedFrame, track
from dvis_daq.tracker.state import EndlessLife, Lifecycle, TrackerStep, TrackState, Transition
from dvis_daq.tracker.static import StaticTracker

LEFT, RIGHT = range(2)
NOWHERE = -1
EYE = torch.eye(4)


def mask(place: int) -> Tensor:
    """(4, 4) logits of the left or the right half."""
    logits = torch.full((4, 4), -5.0)
    if place != NOWHERE:
        logits[:, 2 * place : 2 * place + 2] = 5.0
    return logits


def truth(**objects: int) -> ClipTargets:
    """Objects a, b, ... (ids 0, 1, ...), all of class 0, at their places in 16 x 16 pixels."""
    ids = torch.tensor([ord(name) - ord("a") for name in objects], dtype=torch.int64)
    masks = torch.stack([(mask(p) > 0).repeat_interleave(4, 0).repeat_interleave(4, 1)
                         for p in objects.values()] or [torch.zeros(16, 16, dtype=torch.bool)])  # fmt: skip
    return ClipTargets(torch.zeros_like(ids), masks[: len(ids), None], ids)


def frame(
    before: list[int],
    after: list[int],
    places: list[int],
    *,
    queries: Tensor | None = None,
    seen: list[bool] | None = None,
    **more: Transition,
) -> TrackedFrame:
    """A frame with one row for each of `places`, the first of them the tracks `before`."""
    rows = len(places)
    logits = torch.tensor([[3.0, 0.0]]).repeat(rows, 1)
    masks = torch.stack([mask(place) for place in places])
    queries = EYE[:rows] if queries is None else queries
    step = TrackerStep(
        tracked=Predictions(logits[None], masks[None, :, None]),
        queries=queries,
        appearance=torch.zeros(rows, 0),
        num_tracked=len(before),
        **more,
    )
    accepted = torch.ones(rows, dtype=torch.bool) if seen is None else torch.tensor(seen)
    living = accepted.nonzero().squeeze(1)
    start = TrackState.start(torch.zeros(0, 4), torch.zeros(0, 0), window=1)
    state = TrackState(
        **(vars(start) | {"ids": torch.tensor(after), "queries": queries[living], "frame": 1})
    )
    return TrackedFrame(state, None, step, accepted, living)  # type: ignore[arg-type]


def events(*frames: tuple[TrackedFrame, ClipTargets]) -> list[tuple[str, float | None]]:
    watch = Transitions()
    for done, objects in frames:
        watch.add(done, objects)
    return [(e.kind, None if e.cosine is None else round(e.cosine, 3)) for e in watch.events]


def test_an_emergence_is_the_new_anchor_and_what_becomes_of_it():
    anchors = torch.tensor([[1.0, 0, 0, 0], [0.0, 1, 1, 0]])
    moved = Transition(anchors, EYE[:2])
    first = frame([], [0], [LEFT])
    second = frame([0], [0, 1], [LEFT, RIGHT], emergence=moved)
    assert events((first, truth(a=LEFT)), (second, truth(a=LEFT, b=RIGHT))) == [
        ("emergence", 0.707)
    ]


def test_a_static_row_begins_as_its_last_query():
    first = frame([], [0, 1], [LEFT, NOWHERE])
    queries = torch.stack([EYE[0], EYE[1] + EYE[2]])
    second = frame([0, 1], [0, 1], [LEFT, RIGHT], queries=queries)
    third = frame([0, 1], [0, 1], [LEFT, NOWHERE], queries=EYE[[0, 2]])
    clip = [(first, truth(a=LEFT)), (second, truth(a=LEFT, b=RIGHT)), (third, truth(a=LEFT))]
    assert events(*clip) == [("emergence", 0.707), ("disappearance", 0.707)]


def test_tracker_2_speaks_of_disappearances():
    moved = Transition(EYE[[3, 0, 1]], EYE[[3, 0, 0]])
    first = frame([], [0, 1], [LEFT, RIGHT])
    second = frame([0, 1], [0, 1], [LEFT, NOWHERE], disappearance=moved)
    clip = [(first, truth(a=LEFT, b=RIGHT)), (second, truth(b=RIGHT))]
    assert events(*clip) == [("disappearance", 1.0)]  # of object a, track 0: row 0
    clip = [(first, truth(a=LEFT, b=RIGHT)), (second, truth())]
    assert sorted(events(*clip)) == [("disappearance", 1.0), ("disappearance", 1.0)]


def test_events_without_a_row():
    """Nothing is there, it was turned away, or it stands for another object already."""
    first = frame([], [0], [LEFT])
    for second in (
        frame([0], [0], [LEFT]),
        frame([0], [0], [LEFT, RIGHT], seen=[True, False]),
        frame([0], [0], [RIGHT]),
    ):
        found = events((first, truth(a=LEFT)), (second, truth(a=LEFT, b=RIGHT)))
        assert found == [("emergence", None)]
    unseen = frame([], [0], [NOWHERE])
    assert events((unseen, truth(a=LEFT)), (first, truth())) == [("disappearance", None)]


def test_a_return_is_no_emergence_but_each_exit_is_an_event():
    done = frame([0], [0], [LEFT])
    clip = [truth(a=LEFT), truth(), truth(a=LEFT), truth()]
    found = events((frame([], [0], [LEFT]), clip[0]), *((done, objects) for objects in clip[1:]))
    assert [kind for kind, _ in found] == ["disappearance"] * 2


def test_new_rows_must_say_what_they_began_as():
    watch = Transitions()
    watch.add(frame([], [0], [LEFT]), truth(a=LEFT))
    with pytest.raises(ValueError, match="1 tracks has 2 rows"):
        watch.add(frame([0], [0, 1], [LEFT, RIGHT]), truth(a=LEFT, b=RIGHT))


def test_summary_and_table():
    clip = [(frame([], [0], [LEFT]), truth(a=LEFT)), (frame([0], [0], [LEFT]), truth(b=RIGHT))]
    watch = Transitions()
    for done, objects in clip:
        watch.add(done, objects)
    figures = summarize(watch.events)
    assert figures["all"] == {
        "events": 2, "unmatched": 1, "CS": 1.0, "CS_std": 0.0, "NED": 0.0, "NED_std": 0.0,
    }  # fmt: skip
    assert figures["emergence"]["CS"] is None
    assert "| emergence | - | - | 1 | 1 |" in text(figures)
    assert summarize([])["all"]["NED"] is None
    assert "IoU of at least 0.5" in DEFINITION


def clip_of(queries: int, frames: int) -> FrameOutputs:
    torch.manual_seed(0)
    return FrameOutputs(
        embeds=torch.randn(frames, queries, 16),
        logits=torch.randn(frames, queries, 4),
        masks=torch.randn(frames, queries, 4, 4),
        mask_features=torch.randn(frames, 8, 4, 4),
        initial_queries=torch.randn(queries, 16),
    )


SIZES = {
    "hidden_dim": 16,
    "mask_dim": 8,
    "num_classes": 3,
    "layers": 2,
    "heads": 2,
    "feedforward_dim": 16,
}


@torch.no_grad()
def test_real_trackers_say_what_their_rows_began_as():
    tracker = DAQTracker(**SIZES).eval()
    first, second = track(tracker, Lifecycle(score=0.0), clip_of(5, 2))
    tracks, moved = len(first.state), second.step.emergence
    began = first.state.queries + first.state.appearance.mean
    torch.testing.assert_close(moved.anchors[:tracks], began)
    assert torch.equal(moved.results, second.step.queries)
    assert moved.anchors.shape == (tracks + 5, 16)
    assert second.step.disappearance.anchors.shape == (tracks + 5, 16)  # 5 of background
    static = list(track(StaticTracker(**SIZES).eval(), EndlessLife(), clip_of(5, 2)))
    assert all(done.step.emergence is None for done in static)
