from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from dvis_daq.structures import Assignment, ClipTargets, FrameOutputs
from dvis_daq.tracker.daq import DAQTracker
from dvis_daq.training import losses as losses_module
from dvis_daq.training.objectives import Clip, DAQObjective, FrameObjective
from dvis_daq.training.objectives.base import fit_targets, segment_clips
from dvis_daq.training.objectives.daq import follow
from dvis_daq.training.simulation import Choice, Stage
from tests.unit.training.toys import (
    CLASSES,
    MASK_WIDTH,
    WIDTH,
    FixedPoints,
    toy_frames,
    toy_predictions,
    toy_targets,
)

LATE = Stage(score=0.0, hide="random")  # every row lives on
EVENTS = [[1, 1, 1], [1, 0, 1], [0, 0, 1], [1, 1, 0], [1, 1, 1]]


class First(Choice):
    def __call__(self, n: int) -> int:
        return 0


def tiny_tracker(seed: int = 0, **options) -> DAQTracker:
    torch.manual_seed(seed)
    tracker = DAQTracker(
        hidden_dim=WIDTH,
        mask_dim=MASK_WIDTH,
        num_classes=CLASSES,
        layers=2,
        heads=2,
        feedforward_dim=32,
        background_queries=2,
        **options,
    )
    return tracker.double().train()


def parts(tracker: DAQTracker | None = None, segmenter=None) -> SimpleNamespace:
    return SimpleNamespace(segmenter=segmenter, tracker=tracker or tiny_tracker())


def daq(*stages: Stage, **options) -> DAQObjective:
    options = {"points": FixedPoints(), "choice": First()} | options
    return DAQObjective(stages=stages or (Stage(drop="half"),), **options)


def events(seed: int = 0) -> Clip:
    return Clip(toy_frames(3, seed=seed), toy_targets(EVENTS))


@pytest.mark.parametrize("stage", [Stage(drop="half"), Stage(), Stage(score=0.3), LATE])
@pytest.mark.parametrize("visible", [EVENTS, [], [[0, 0, 0]], [[0, 1, 0]], [[0, 0, 0], [1, 1, 1]]])
def test_every_trained_parameter_has_a_gradient(stage, visible):
    """Also with no object, one never visible, and no track: DDP waits for all of them."""
    model = parts()
    targets = toy_targets(visible)
    losses = daq(stage)(model, [Clip(toy_frames(3), targets)], 0)
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert [n for n, p in model.tracker.named_parameters() if p.grad is None] == []


def test_names_of_the_losses():
    losses = daq()(parts(), [events()], 0)
    ends_1, ends_2 = ("_0", "_1", ""), ("_0", "")  # tracker 1 predicts its input, too
    names = [f"loss_{part}{end}" for part in ("ce", "mask", "dice") for end in ends_1]
    names += [f"slot_loss_{part}{end}" for part in ("ce", "mask", "dice") for end in ends_2]
    assert sorted(losses) == sorted(names)


@pytest.mark.parametrize("stage", [Stage(drop="half"), LATE])
def test_the_order_of_objects_does_not_matter(stage):
    order = torch.tensor([4, 2, 0, 3, 1])
    clip = events()
    shuffled = Clip(clip.images, clip.targets[order, :])
    fixed = replace(stage, hide="none")
    ours, theirs = (daq(fixed)(parts(), [c], 0) for c in (clip, shuffled))
    torch.testing.assert_close(ours, theirs)


def test_several_clips_share_one_mean(monkeypatch):
    """Sums over all rows and pairs, divided once: not the mean of the clips' losses."""
    norms = []  # of tracker 1 and 2 in turn: (sum of class weights, pairs)
    monkeypatch.setattr(losses_module, "sum_over_ranks", lambda x: (norms.append(x), (x, 1))[1])
    alone = [daq(LATE)(parts(), [events(seed)], 0) for seed in (0, 1)]
    monkeypatch.undo()
    together = daq(LATE)(parts(), [events(0), events(1)], 0)
    for name, value in together.items():
        of_tracker = norms[1::2] if name.startswith("slot_") else norms[::2]
        shares = [norm[0 if "_ce" in name else 1] for norm in of_tracker]
        expected = sum(a[name] * n for a, n in zip(alone, shares, strict=True)) / sum(shares)
        torch.testing.assert_close(value, expected)


def test_the_stage_follows_the_iteration():
    seen = []
    model = parts()
    step = model.tracker.step
    model.tracker.step = lambda *a: (seen.append(a), step(*a))[1]
    objective = daq(Stage(until=10, frames=2, drop="half"), LATE)
    objective(model, [events()], 9)
    assert len(seen) == 2
    objective(model, [events()], 10)
    assert len(seen) == 2 + 3


def test_hidden_candidates_reach_tracker_2_only():
    hidden = []
    model = parts()
    step = model.tracker.step
    model.tracker.step = lambda *a: (hidden.append(a[2]), step(*a))[1]
    daq(LATE)(model, [events()], 0)
    assert hidden[0] is None and any(h is not None for h in hidden[1:])
    seen = [daq(replace(LATE, hide=h))(parts(), [events()], 0) for h in ("none", "random")]
    for name in seen[0]:
        assert torch.equal(*(s[name] for s in seen)) == (not name.startswith("slot_"))


@pytest.mark.parametrize(
    ("rule", "frames"), [("random", {1, 2}), ("continuous", {1, 2}), ("one", {1}), ("none", set())]
)
def test_frames_in_which_something_is_hidden(rule, frames):
    hidden = []
    model = parts()
    step = model.tracker.step
    model.tracker.step = lambda *a: (hidden.append(a[2]), step(*a))[1]
    daq(Stage(score=0.0, hide=rule))(model, [Clip(toy_frames(3), toy_targets([[1, 1, 1]] * 5))], 0)
    assert {t for t, h in enumerate(hidden) if h is not None} == frames


def test_without_tracker_2_there_is_nothing_to_learn_of_it():
    tracker = tiny_tracker(disappearance=None)
    losses = daq(LATE)(parts(tracker), [events()], 0)
    sum(losses.values()).backward()
    assert not any(name.startswith("slot_") for name in losses)
    names = dict(tracker.named_parameters())
    assert not any("disappearance" in name or "background" in name for name in names)
    assert [name for name, p in names.items() if p.grad is None] == []


def test_aliasing_needs_a_real_and_a_simulated_disappearance():
    """It changes tracker 1's losses then, and never tracker 2's."""

    def differing(visible: list[list[int]]) -> set[str]:
        clip = Clip(toy_frames(3), toy_targets(visible))
        ours, released = (
            daq(LATE, aliased_disappearance=aliased)(parts(), [clip], 0)
            for aliased in (False, True)
        )
        return {name for name in ours if not torch.equal(ours[name], released[name])}

    assert differing([[1, 1, 1]] * 5) == set()
    names = differing([*[[1, 1, 1]] * 4, [1, 0, 0]])
    assert names and not any(name.startswith("slot_") for name in names)


def test_tracker_1_learns_that_an_object_left_and_tracker_2_too():
    items = list(
        daq(LATE).track(
            tiny_tracker(), toy_frames(3), toy_targets([[1, 0, 1]]), replace(LATE, hide="none")
        )
    )
    owned = [(said.tracked.labels != CLASSES).sum().item() for said in items]
    assert owned == [1, 0, 1]
    assert items[0].disappearing is None
    assert [(s.disappearing.labels != CLASSES).sum().item() for s in items[1:]] == [0, 1]
    assert [said.tracked.count for said in items] == [1, 1, 1]  # history counts while away


def test_an_object_that_emerges_is_given_a_new_row():
    tracker, targets = tiny_tracker(), toy_targets([[0, 1]])
    said = [s.tracked for s in daq().track(tracker, toy_frames(2), targets, Stage())]
    assert [s.count for s in said] == [0, 1]
    assert len(said[1].labels) == 10 and (said[1].labels == 0).sum() == 1


def test_stored_outputs_stand_for_images():
    frames = toy_frames(3)
    segmenter = Recorder(frames)
    images = torch.zeros(3, 3, 24, 32, dtype=torch.uint8)
    run = [
        daq()(parts(segmenter=segmenter), [Clip(source, toy_targets(EVENTS))], 0)
        for source in (images, frames)
    ]
    torch.testing.assert_close(*run)
    assert segmenter.shapes == [(3, 3, 24, 32)]


def cast(frames: FrameOutputs, dtype: torch.dtype) -> FrameOutputs:
    return FrameOutputs(**{k: v if v is None else v.to(dtype) for k, v in vars(frames).items()})


@pytest.mark.parametrize("stored", [torch.float32, torch.float16])
def test_bfloat16_gives_about_the_losses_of_float32(stored):
    frames, targets = cast(toy_frames(3), stored), toy_targets(EVENTS)
    exact = daq(LATE)(parts(tiny_tracker().float()), [Clip(frames, targets)], 0)
    model = parts(tiny_tracker().float())
    with torch.autocast("cpu", torch.bfloat16):
        rough = daq(LATE)(model, [Clip(frames, targets)], 0)
    for name, value in rough.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, exact[name], rtol=0.02, atol=0.02)
    sum(rough.values()).backward()
    assert all(p.grad.isfinite().all() for p in model.tracker.parameters())


class Recorder(nn.Module):
    """Answers with the same frames, again and again."""

    def __init__(self, frames: FrameOutputs) -> None:
        super().__init__()
        self.frames = frames
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, images: torch.Tensor) -> FrameOutputs:
        self.shapes.append(tuple(images.shape))
        return FrameOutputs.cat([self.frames] * len(images))[: len(images)]


def test_clips_of_one_size_pass_the_segmenter_together():
    segmenter = Recorder(toy_frames(1))
    clips = [
        Clip(torch.zeros(t, 3, *size), toy_targets([]))
        for t, size in ((2, (24, 32)), (1, (8, 8)), (3, (24, 32)))
    ]
    outputs = segment_clips(segmenter, clips)
    assert segmenter.shapes == [(5, 3, 24, 32), (1, 3, 8, 8)]
    assert [len(frames) for frames in outputs] == [2, 1, 3]


def test_one_frame_is_too_short():
    with pytest.raises(ValueError, match="INPUT.CLIP.FRAMES"):
        daq()(parts(), [Clip(toy_frames(1), toy_targets([[1]]))], 0)


def test_targets_are_padded_and_unseen_objects_dropped():
    targets = toy_targets([[1, 0], [0, 0]], pixels=(22, 31))
    fitted = fit_targets(targets, toy_frames(2))
    assert fitted.masks.shape == (1, 2, 24, 32)
    assert torch.equal(fitted.masks[:, :, :22, :31], targets.masks[:1])
    assert fitted.masks[:, :, 22:].sum() == fitted.masks[..., 31:].sum() == 0
    with pytest.raises(ValueError, match="do not fit"):
        fit_targets(toy_targets([[1, 1]], pixels=(28, 32)), toy_frames(2))
    with pytest.raises(ValueError, match="do not fit"):
        fit_targets(targets, toy_frames(3))


def test_pairs_follow_their_rows():
    pairs = Assignment(torch.tensor([7, 2, 4]), torch.tensor([0, 1, 2]))
    kept = follow(pairs, torch.tensor([1, 2, 6, 7]))
    assert kept.query.tolist() == [1, 3] and kept.target.tolist() == [1, 0]


class DeepSegmenter(nn.Module):
    """Free tensors as the outputs of L decoder layers."""

    def __init__(self, images: int, layers: int) -> None:
        super().__init__()
        said = [toy_predictions(layers, 6, seed=i) for i in range(images)]
        self.logits = nn.Parameter(torch.stack([s.logits.detach() for s in said], 1))
        self.masks = nn.Parameter(torch.cat([s.masks.detach() for s in said], 2).transpose(1, 2))

    def forward(self, images: torch.Tensor) -> FrameOutputs:
        blank = torch.zeros(len(images), 6, WIDTH)
        return FrameOutputs(
            blank,
            self.logits[-1],
            self.masks[-1],
            self.masks[-1, :, :2],
            blank[0],
            deep_logits=self.logits,
            deep_masks=self.masks,
        )


def frame_losses(*targets: ClipTargets) -> tuple[dict[str, torch.Tensor], DeepSegmenter]:
    segmenter = DeepSegmenter(sum(t.num_frames for t in targets), layers=3)
    clips = [Clip(torch.zeros(t.num_frames, 3, 24, 32), t) for t in targets]
    objective = FrameObjective(points=FixedPoints())
    return objective(SimpleNamespace(segmenter=segmenter), clips, 0), segmenter


def test_frame_objective_supervises_every_layer():
    losses, segmenter = frame_losses(toy_targets([[1], [1]]), toy_targets([[1]]))
    assert sorted(losses) == sorted(
        f"loss_{part}{end}" for part in ("ce", "mask", "dice") for end in ("_0", "_1", "")
    )
    sum(losses.values()).backward()
    for grad in (segmenter.logits.grad, segmenter.masks.grad):
        assert (grad.flatten(2).abs().sum(-1) > 0).all()  # every layer, every image


def test_frame_objective_without_objects():
    losses, segmenter = frame_losses(toy_targets([])[:, :1])
    sum(losses.values()).backward()
    assert segmenter.masks.grad is not None and losses["loss_mask"] == 0 < losses["loss_ce"]


def test_frame_objective_asks_for_absent_objects():
    """An object absent from one frame of the clip keeps its class, and counts in the mean."""
    both, _ = frame_losses(toy_targets([[1, 1], [1, 0]]))
    assert both["loss_mask"] > 0
    one_each = frame_losses(toy_targets([[1, 1]]))[0]
    assert not torch.isclose(both["loss_ce"], one_each["loss_ce"])


def test_objectives_say_what_trains():
    assert DAQObjective().trains == ("tracker",) and FrameObjective().trains == ("segmenter",)
