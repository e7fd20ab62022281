"""GenVIS as whole models: clips, windows, scores, and a short training that learns."""

import pytest
import torch
from detectron2.utils.events import EventStorage

from dvis_daq.config import get_config
from dvis_daq.model import VideoModel
from dvis_daq.recipes import GenVIS, GenVIS_DAQ
from dvis_daq.structures import ClipTargets, FrameSizes
from dvis_daq.tasks.vis import mask_confidence
from tests.conftest import ROOT

RECIPES = {recipe.__name__: recipe for recipe in (GenVIS, GenVIS_DAQ)}
FRAMES, SIZE = 5, (32, 64)


def make(name: str, *options: str) -> VideoModel:
    fixed = ["MODEL.WEIGHTS", "", "SOLVER.CACHE_SEGMENTER", "False", "TEST.MASK_DTYPE", "none"]
    cfg = get_config(ROOT / "configs" / "synthetic" / f"{name}.yaml", [*fixed, *options])
    torch.manual_seed(0)
    return RECIPES[name](cfg)


def images() -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (FRAMES, 3, *SIZE), generator=draw).double()


@pytest.mark.parametrize("clip", ["1", "2", "3"])
def test_every_frame_has_a_mask_whatever_the_clip(clip: str) -> None:
    """Five frames are no multiple of two, nor of three."""
    model = make("GenVIS", "MODEL.GENVIS.CLIP_FRAMES", clip).double().eval()
    prediction = model.predict(images())
    assert prediction.masks.shape[:2] == (20, FRAMES)
    [result] = model([{"images": images()}])
    assert len(result["masks"][0]) == FRAMES


@pytest.mark.parametrize("name", RECIPES)
def test_windows_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(name).double().eval()
    whole = model.predict(images())
    monkeypatch.setattr(model, "window", 2)
    pieces = model.predict(images())
    torch.testing.assert_close(whole.masks, pieces.masks)
    torch.testing.assert_close(whole.scores, pieces.scores)


def test_a_window_that_cannot_be_cut_into_clips() -> None:
    with pytest.raises(ValueError, match="a window of 5 frames cannot be cut into clips of 2"):
        model = make("GenVIS")
        VideoModel(
            segmenter=model.segmenter,
            tracker=model.tracker,
            lifecycle=model.lifecycle,
            task=model.task,
            objective=model.objective,
            window=5,
            clip=2,
        )


def test_scores_are_the_best_of_all_clips_times_the_confidence_of_the_mask() -> None:
    model = make("GenVIS").double().eval()
    done = list(model.frames(images()))
    best = torch.stack([d.step.tracked.logits[-1].softmax(-1) for d in done]).amax(0)
    prediction = model.predict(images())
    torch.testing.assert_close(prediction.scores, best)
    sizes = FrameSizes(SIZE, SIZE, SIZE)
    confidence = mask_confidence(prediction.masks, sizes)
    [result] = model([{"images": images()}])
    for score, label, row in zip(result["scores"], result["labels"], result["ids"], strict=True):
        torch.testing.assert_close(score, best[row, label] * confidence[row])
    assert result["scores"].tolist() == sorted(result["scores"].tolist(), reverse=True)


def test_confidence_is_the_mean_probability_of_the_foreground() -> None:
    masks = torch.randn(3, 2, 4, 6, dtype=torch.float64)
    masks[1] = -5
    sizes = FrameSizes((4, 6), (4, 6), (9, 9))  # judged before the second resize
    expected = [m[m > 0].sigmoid().mean() if (m > 0).any() else 0 for m in masks]
    torch.testing.assert_close(mask_confidence(masks, sizes), torch.tensor(expected).double())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["MODEL.GENVIS.FRAME_LAYERS", "5"], "FRAME_LAYERS is 5, but the segmenter predicts 4"),
        (["MODEL.TRACKER.ANCHORS.TOP_K", "5"], "one emergence anchor for each candidate"),
        (["MODEL.SEGMENTER", "encoder_only"], "GenVIS needs MODEL.SEGMENTER mask2former"),
    ],
)
def test_choices_that_do_not_fit(options: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make("GenVIS_DAQ", *options)


@pytest.mark.parametrize("name", RECIPES)
def test_a_short_training_learns_a_video(name: str) -> None:
    """On one video, whose objects cross the picture; the segmenter knows nothing yet."""
    model = make(
        name, "MODEL.GENVIS.ENCODER_LAYERS", "1", "MODEL.GENVIS.DECODER_LAYERS", "1"
    ).train()
    masks = torch.zeros(2, 2, *SIZE, dtype=torch.bool)
    masks[0, :, 4:20, 4:28] = True
    masks[1, :, 10:30, 36:60] = True
    targets = ClipTargets(torch.tensor([0, 3]), masks, torch.tensor([0, 1]))
    video = {"images": images()[:2].float(), "targets": targets}
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=2e-3)
    totals = []
    for _ in range(25):
        with EventStorage(0):
            total = sum(model([video]).values())
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        totals.append(total.item())
    assert sum(totals[-3:]) < 0.75 * sum(totals[:3])
