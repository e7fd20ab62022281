"""GenVIS: what its rows may depend on, and what they may not."""

import pytest
import torch

from dvis_daq.structures import FrameOutputs
from dvis_daq.tracker.genvis import GenVISTracker, PrototypeMemory
from dvis_daq.tracker.loop import TrackedFrame, track
from dvis_daq.tracker.state import EndlessLife, TrackState
from tests.unit.tracker.tiny_clip import ROWS, WIDTH, clip_video, genvis
from tests.unit.tracker.tiny_tracker import make_video


def follow(
    tracker: GenVISTracker,
    video: FrameOutputs,
    state: TrackState | None = None,
    length: int = 1,
) -> list[TrackedFrame]:
    clips = [video[t : t + length] for t in range(0, len(video), length)]
    with torch.no_grad():
        return list(track(tracker.eval(), EndlessLife(), clips, state))


@pytest.mark.parametrize("memory", [True, False])
def test_rows_are_handed_on_and_live_forever(memory: bool) -> None:
    done = follow(genvis(memory=memory), clip_video(3))
    assert [d.state.ids.tolist() for d in done] == [list(range(ROWS))] * 3
    remembered = [d.state.prototypes for d in done]
    assert [None if m is None else tuple(m.shape) for m in remembered] == (
        [(ROWS, m, 2 * WIDTH) for m in (1, 2, 3)] if memory else [None] * 3
    )


@pytest.mark.parametrize("memory", [True, False])
@pytest.mark.parametrize("cut", [1, 2])
def test_a_video_in_pieces_is_the_video(memory: bool, cut: int) -> None:
    tracker, video = genvis(memory=memory), clip_video(4)
    whole = follow(tracker, video)
    first = follow(tracker, video[:cut])
    follow(tracker, clip_video(2, seed=9))  # another video in between leaves no trace
    second = follow(tracker, video[cut:], first[-1].state)
    for one, other in zip(whole, [*first, *second], strict=True):
        torch.testing.assert_close(one.step.tracked.logits, other.step.tracked.logits)
        torch.testing.assert_close(one.step.tracked.masks, other.step.tracked.masks)


def test_the_order_of_frames_in_a_clip_does_not_matter() -> None:
    tracker, video = genvis(), clip_video(3)
    order = torch.tensor([2, 0, 1])
    shuffled = FrameOutputs.cat([video[int(t)] for t in order])
    [one], [other] = (follow(tracker, clip, length=3) for clip in (video, shuffled))
    torch.testing.assert_close(one.step.queries, other.step.queries)
    torch.testing.assert_close(one.step.tracked.logits, other.step.tracked.logits)
    torch.testing.assert_close(one.step.tracked.masks[:, :, order], other.step.tracked.masks)


def test_a_clip_has_one_class_and_a_mask_for_each_frame() -> None:
    first, last = follow(genvis(), clip_video(5), length=3)
    assert first.step.tracked.masks.shape[:3] == (1, ROWS, 3)
    assert last.step.tracked.masks.shape[:3] == (1, ROWS, 2)  # what is left of the video
    assert first.step.candidate_similarity.shape[:2] == (3, 6)
    assert last.state.frame == 2


def test_later_clips_depend_on_earlier_ones() -> None:
    tracker, video = genvis(memory=False), clip_video(2)
    alone = follow(tracker, video[1:])
    assert not torch.allclose(
        alone[0].step.tracked.logits, follow(tracker, video)[1].step.tracked.logits
    )


def test_without_pixel_features_there_are_no_masks() -> None:
    with pytest.raises(ValueError, match="pixel_features"):
        follow(genvis(), make_video(1))


def test_a_row_reads_only_its_own_past() -> None:
    memory, rows = PrototypeMemory(WIDTH), torch.randn(3, WIDTH)
    past = torch.randn(3, 4, 2 * WIDTH)
    changed = past.clone()
    changed[1] += torch.randn(4, 2 * WIDTH)
    same = [
        torch.equal(a, b) for a, b in zip(memory(rows, past), memory(rows, changed), strict=True)
    ]
    assert same == [True, False, True]


def test_the_memory_equals_its_definition() -> None:
    memory, rows, normed = PrototypeMemory(WIDTH), torch.randn(2, WIDTH), torch.randn(3, 2, WIDTH)
    past = torch.stack([memory.entry(clip) for clip in normed], dim=1)  # (2, 3, 2 C)
    for n, row in enumerate(rows):
        scores = torch.stack([memory.ask(row) @ memory.key(clip[n]) for clip in normed])
        mixed = sum(
            w * memory.value(clip[n]) for w, clip in zip(scores.softmax(0), normed, strict=True)
        )
        torch.testing.assert_close(memory(rows, past)[n], row + memory.keep(row) + mixed)


def test_a_memory_of_the_latest_clips() -> None:
    rows, past = torch.randn(2, WIDTH), torch.randn(2, 5, 2 * WIDTH)
    whole = PrototypeMemory(WIDTH)
    latest = PrototypeMemory(WIDTH, clips=2)
    latest.load_state_dict(whole.state_dict())
    torch.testing.assert_close(latest(rows, past), whole(rows, past[:, -2:]))
    latest.clips = 0
    torch.testing.assert_close(latest(rows, past), whole(rows, None))
