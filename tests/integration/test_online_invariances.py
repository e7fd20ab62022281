"""A whole online model: how a video is cut into pieces does not change what is found."""

import pytest
import torch
from torch import Tensor

from dvis_daq.config import get_config
from dvis_daq.model import TrackedFrame, VideoModel
from dvis_daq.recipes import DVIS_DAQ_online, MinVIS
from dvis_daq.tracker.bank import TrackBank
from tests.conftest import ROOT

FRAMES = 6
RECIPES = {recipe.__name__: recipe for recipe in (DVIS_DAQ_online, MinVIS)}


def make_model(name: str) -> VideoModel:
    options = [
        "MODEL.WEIGHTS",
        "",
        "MODEL.LIFECYCLE.SCORE",
        "0.25",
        "MODEL.LIFECYCLE.PATIENCE",
        "2",
    ]
    cfg = get_config(ROOT / "configs" / "synthetic" / f"{name}.yaml", options)
    return RECIPES[name](cfg).double().eval()


@pytest.fixture(scope="module", params=["DVIS_DAQ_online", "MinVIS"])
def model(request: pytest.FixtureRequest) -> VideoModel:
    torch.manual_seed(1)
    return make_model(request.param)


@pytest.fixture(scope="module")
def video() -> Tensor:
    make = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (FRAMES, 3, 64, 96), generator=make).double()


def same(first: list[TrackedFrame], second: list[TrackedFrame]) -> None:
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a.state.ids.tolist() == b.state.ids.tolist()
        assert a.seen.tolist() == b.seen.tolist()
        torch.testing.assert_close(a.state.queries, b.state.queries)
        torch.testing.assert_close(a.step.tracked.masks, b.step.tracked.masks)


@pytest.mark.parametrize("window", [1, 4])
def test_windows_change_nothing(
    model: VideoModel, video: Tensor, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = list(model.frames(video))
    monkeypatch.setattr(model, "window", window)
    same(whole, list(model.frames(video)))


def test_a_video_may_come_in_pieces(model: VideoModel, video: Tensor) -> None:
    whole = list(model.frames(video))
    first = list(model.frames(video[:2]))
    list(model.frames(video.flip(0)))  # another video in between
    same(whole, first + list(model.frames(video[2:], first[-1].state)))


def test_drains_are_the_whole_video(model: VideoModel, video: Tensor) -> None:
    whole, bank, pieces = (
        model.predict(video),
        TrackBank(dtype=model.mask_dtype, show_unseen=model.show_unseen),
        [],
    )
    for done in model.frames(video):
        bank.add(done.state, done.step, done.rows, done.seen)
        if len(bank) == 2:
            pieces.append(bank.drain())
    masks = torch.full_like(whole.masks, -1e4)
    logits = torch.zeros_like(whole.logits)
    for piece in pieces:
        masks[piece.ids, piece.start : piece.start + 2] = piece.masks
        logits[piece.ids] = piece.logits
    assert torch.equal(masks, whole.masks)
    torch.testing.assert_close(logits, whole.logits)


def test_a_video_of_one_frame(model: VideoModel, video: Tensor) -> None:
    [result] = model([{"images": video[:1], "height": 64, "width": 96}])
    assert all(len(track) == 1 for track in result["masks"])


def test_there_is_something_to_find(model: VideoModel, video: Tensor) -> None:
    """Guards the tests above against a model that finds nothing."""
    assert all(len(done.state) > 0 for done in model.frames(video))
