"""GenVIS with dynamic anchors: rows come and go, and candidates have no order."""

import pytest
import torch

from dvis_daq.tracker.loop import track
from dvis_daq.tracker.state import Lifecycle, tracker_1_and_2
from tests.unit.tracker.tiny_clip import CANDIDATES, clip_video, genvis_daq, permuted

LIFE = Lifecycle(
    accept=tracker_1_and_2, score=0.8, first_score=0.5, foreground_score=0.3, patience=2
)


def follow(video, tracker=None, state=None):
    with torch.no_grad():
        return list(track((tracker or genvis_daq()).eval(), LIFE, video, state))


def test_a_first_frame_has_one_row_for_each_candidate() -> None:
    [done] = follow(clip_video(1))
    assert done.step.num_tracked == 0 and len(done.step.tracked) == CANDIDATES
    assert done.step.disappearing is None
    assert 0 < len(done.state) < CANDIDATES


@pytest.mark.parametrize("anchors_first", [False, True])
def test_what_the_rows_of_a_first_frame_are(anchors_first: bool) -> None:
    """Its candidates, or anchors, which have a learned query in common."""
    tracker = genvis_daq().eval()
    tracker.anchors_first = anchors_first
    video = clip_video(2, seed=3)
    before = follow(video, tracker)
    with torch.no_grad():
        tracker.emergence_query.weight.add_(1.0)
    after = follow(video, tracker)
    same = [
        torch.equal(one.step.queries, other.step.queries)
        for one, other in zip(before, after, strict=True)
    ]
    assert same == [not anchors_first, False]


def test_tracks_come_and_go_and_ids_are_never_used_again() -> None:
    done = follow(clip_video(8, seed=3))
    born = [set(d.state.ids.tolist()) for d in done]
    assert len(set().union(*born)) == done[-1].state.next_id > len(born[-1])
    for before, after in zip(done, done[1:], strict=False):
        assert after.step.num_tracked == len(before.state)
        assert len(after.step.tracked) == len(before.state) + CANDIDATES
        assert len(after.step.disappearing) == len(before.state) + 3


def test_permuting_candidates_permutes_the_anchors_and_nothing_else() -> None:
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    ours, theirs = (follow(v) for v in (clip_video(1), permuted(clip_video(1), order)))
    logits = ours[0].step.tracked.logits[:, order]
    torch.testing.assert_close(theirs[0].step.tracked.logits, logits)
    later = clip_video(2, seed=5)[1:]
    with torch.no_grad():
        tracker = genvis_daq().eval()
        steps = [tracker.step(ours[0].state, v) for v in (later, permuted(later, order))]
    tracks = steps[0].num_tracked
    for name in ("logits", "masks"):
        one, other = (getattr(step.tracked, name) for step in steps)
        torch.testing.assert_close(one[:, :tracks], other[:, :tracks])
        torch.testing.assert_close(one[:, tracks:][:, order], other[:, tracks:])
    torch.testing.assert_close(*(step.disappearing.logits for step in steps))


def test_a_video_in_pieces_is_the_video() -> None:
    video, tracker = clip_video(5, seed=3), genvis_daq()
    whole = follow(video, tracker)
    first = follow(video[:2], tracker)
    second = follow(video[2:], tracker, first[-1].state)
    for one, other in zip(whole, [*first, *second], strict=True):
        assert one.state.ids.tolist() == other.state.ids.tolist()
        torch.testing.assert_close(one.step.tracked.masks, other.step.tracked.masks)


def test_hidden_candidates_are_hidden_from_tracker_2_alone() -> None:
    tracker, video = genvis_daq().eval(), clip_video(2)
    state = follow(video[:1], tracker)[-1].state
    hidden = torch.arange(CANDIDATES) < 2
    with torch.no_grad():
        seen, unseen, blind = (
            tracker.step(state, video[1], h) for h in (None, hidden, torch.ones_like(hidden))
        )
    assert torch.equal(seen.tracked.logits, unseen.tracked.logits)
    assert not torch.allclose(seen.disappearing.logits, unseen.disappearing.logits)
    assert torch.equal(seen.disappearing.logits, blind.disappearing.logits)


def test_a_clip_is_one_frame() -> None:
    tracker = genvis_daq()
    with pytest.raises(ValueError, match="got 2 at once"):
        tracker.step(tracker.start(), clip_video(2))
