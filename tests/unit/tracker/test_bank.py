import pytest
import torch

from dvis_daq.tracker.bank import NOTHING, TrackBank
from tests.unit.tracker.tiny_tracker import follow, make_tracker, make_video

FRAMES = 8


@pytest.fixture(scope="module")
def done() -> list:
    """Tracks are born, lost and die in these frames."""
    return follow(make_tracker(), make_video(FRAMES))


def fill(bank: TrackBank, frames: list) -> TrackBank:
    for state, step, seen, rows in frames:
        bank.add(state, step, rows, seen)
    return bank


def literal(done: list) -> tuple[dict, dict, dict]:
    """Per track: its masks by frame, its logits, and the frames in which it was accepted."""
    masks, logits, visible = {}, {}, {}
    for t, (state, step, seen, rows) in enumerate(done):
        for track, row in zip(state.ids.tolist(), rows.tolist(), strict=True):
            masks.setdefault(track, {})[t] = step.tracked.masks[-1, row, 0]
            logits.setdefault(track, []).append(step.tracked.logits[-1, row])
            if seen[row]:
                visible.setdefault(track, set()).add(t)
    return masks, logits, visible


def test_a_whole_video(done: list) -> None:
    """Objects in order of birth, dead ones too, means over all frames stored, -1e4 elsewhere."""
    prediction = fill(TrackBank(dtype=None), done).drain()
    masks, logits, _ = literal(done)
    alive = set(done[-1][0].ids.tolist())
    assert set(masks) - alive  # some have died
    assert prediction.ids.tolist() == sorted(masks)
    assert prediction.start == 0
    for row, track in enumerate(prediction.ids.tolist()):
        torch.testing.assert_close(prediction.logits[row], torch.stack(logits[track]).mean(0))
        for t in range(FRAMES):
            expected = masks[track].get(t)
            if expected is None:
                assert (prediction.masks[row, t] == NOTHING).all()
            else:
                assert torch.equal(prediction.masks[row, t], expected)


@pytest.mark.parametrize("step", [1, 3])
def test_drains_together_are_the_whole_video(done: list, step: int) -> None:
    whole = fill(TrackBank(dtype=None), done).drain()
    bank, masks, logits = TrackBank(dtype=None), torch.full_like(whole.masks, NOTHING), {}
    for start in range(0, FRAMES, step):
        fill(bank, done[start : start + step])
        piece = bank.drain()
        assert piece.start == start
        masks[piece.ids, start : start + step] = piece.masks
        logits |= dict(zip(piece.ids.tolist(), piece.logits, strict=True))  # the last word
        assert len(bank) == 0
    assert torch.equal(masks, whole.masks)
    torch.testing.assert_close(torch.stack([logits[i] for i in whole.ids.tolist()]), whole.logits)


def test_drain_leaves_later_frames(done: list) -> None:
    bank = fill(TrackBank(dtype=None), done)
    whole = fill(TrackBank(dtype=None), done).drain()
    first, second = bank.drain(until=3), bank.drain(until=FRAMES)
    assert (first.masks.shape[1], second.masks.shape[1], second.start) == (3, FRAMES - 3, 3)
    for piece in (first, second):  # each has the logits over all frames added
        torch.testing.assert_close(piece.logits, whole.logits[piece.ids])
    assert torch.equal(second.masks, whole.masks[second.ids, 3:])


def test_memory_is_that_of_frames_held_and_tracks_alive(done: list) -> None:
    bank = TrackBank()
    for frame in done:
        fill(bank, [frame])
        bank.drain()
        assert len(bank) == 0
        assert bank._means.ids.tolist() == frame[0].ids.tolist()


def test_sightings(done: list) -> None:
    bank = fill(TrackBank(), done)
    masks, _, visible = literal(done)
    for until in (4, None):
        sightings = bank.sightings(until)
        frames = range(until or FRAMES)
        for row, track in enumerate(sightings.ids.tolist()):
            assert sightings.alive[row].tolist() == [t in masks[track] for t in frames]
            assert sightings.visible[row].tolist() == [t in visible[track] for t in frames]
    assert (sightings.alive & ~sightings.visible).any()  # out of sight, within its patience


def test_unseen_masks_can_be_left_out(done: list) -> None:
    shown, hidden = TrackBank(dtype=None), TrackBank(dtype=None, show_unseen=False)
    visible = fill(shown, done).sightings().visible
    everything, seen = shown.drain(), fill(hidden, done).drain()
    torch.testing.assert_close(seen.logits, everything.logits)
    assert torch.equal(seen.masks[visible], everything.masks[visible])
    assert (seen.masks[~visible] == NOTHING).all()


def test_half_precision_by_default_logits_stay(done: list) -> None:
    prediction = fill(TrackBank(), done).drain()
    whole = fill(TrackBank(dtype=None), done).drain()
    assert prediction.masks.dtype == torch.float16
    torch.testing.assert_close(prediction.masks, whole.masks.half())
    assert torch.equal(prediction.logits, whole.logits)


def test_frames_without_tracks() -> None:
    tracker, video = make_tracker(), make_video(2)
    video.logits[..., -1] += 100  # the segmenter finds nothing
    bank = TrackBank()
    state, step, seen, rows = follow(tracker, video)[0]
    bank.add(state, step, rows, seen)
    prediction = bank.drain()
    assert prediction.masks.shape == (0, 1, 4, 6)
    assert prediction.logits.shape[0] == 0


@pytest.mark.parametrize("until", [0, 9, None])
def test_frames_that_are_not_held_cannot_be_drained(until: int | None, done: list) -> None:
    bank = TrackBank() if until is None else fill(TrackBank(), done)
    with pytest.raises(ValueError, match="cannot drain"):
        bank.drain(until)
