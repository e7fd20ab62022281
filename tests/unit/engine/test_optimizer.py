"""Parameter groups, the learning rate over time, gradient clipping."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dvis_daq.config import ConfigError
from dvis_daq.engine.optimizer import build_lr_scheduler, build_optimizer, clip_gradients
from tests.unit.engine.stand_in import StandIn, stand_in_config


def _groups(model: nn.Module, *opts: Any) -> dict[str, tuple[float, float]]:
    """(learning rate, weight decay) by parameter."""
    optimizer = build_optimizer(stand_in_config(Path("unused"), *opts), model)
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {
        names[parameter]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


def test_groups() -> None:
    options = ("SOLVER.BASE_LR", 1e-4, "SOLVER.WEIGHT_DECAY", 0.05)
    assert _groups(StandIn(), *options) == {
        "segmenter.backbone.weight": (pytest.approx(1e-5), 0.05),
        "segmenter.backbone.bias": (pytest.approx(1e-5), 0.05),
        "tracker.0.weight": (1e-4, 0.0),
        "tracker.0.bias": (1e-4, 0.0),
        "tracker.1.weight": (1e-4, 0.05),
        "tracker.1.bias": (1e-4, 0.05),
        "queries.weight": (1e-4, 0.0),
    }


def test_a_tied_parameter_is_there_once_and_a_frozen_one_not_at_all() -> None:
    model = StandIn()
    model.again = model.segmenter
    model.tracker.requires_grad_(False)
    assert set(_groups(model)) == {
        "segmenter.backbone.weight",
        "segmenter.backbone.bias",
        "queries.weight",
    }


def test_nothing_to_train() -> None:
    with pytest.raises(ConfigError, match="nothing to train"):
        _groups(StandIn().requires_grad_(False))


def _rates(iterations: list[int], **solver: Any) -> list[float]:
    opts = [word for key, value in solver.items() for word in (f"SOLVER.{key}", value)]
    cfg = stand_in_config(Path("unused"), *opts)
    schedule = build_lr_scheduler(cfg)
    return [schedule(i / cfg.SOLVER.MAX_ITER) for i in iterations]


def test_multi_step_with_linear_warmup() -> None:
    rates = _rates(
        [0, 1, 2, 3, 4, 9, 10, 15, 19],
        MAX_ITER=20, STEPS="(10, 15)", WARMUP_ITERS=4, WARMUP_FACTOR=0.1,
    )  # fmt: skip
    assert rates == pytest.approx([0.1, 0.325, 0.55, 0.775, 1, 1, 0.1, 0.01, 0.01])


def test_released_warmup_has_no_effect() -> None:
    rates = _rates([0, 5, 10, 111999, 112000], MAX_ITER=160000, STEPS="(112000,)",
                   WARMUP_ITERS=10, WARMUP_FACTOR=1.0)  # fmt: skip
    assert rates == pytest.approx([1, 1, 1, 1, 0.1])


def test_steps_beyond_the_end_are_dropped() -> None:
    assert _rates([0, 7], STEPS="(30000,)", WARMUP_ITERS=0) == [1, 1]


def test_constant_then_linear() -> None:
    rates = _rates([0, 15, 30, 699, 700, 850, 999], LR_SCHEDULER_NAME="WarmupConstantLinear",
                   MAX_ITER=1000, WARMUP_ITERS=30, WARMUP_FACTOR=0.0)  # fmt: skip
    assert rates == pytest.approx([0, 0.5, 1, 1, 1, 0.55, 0.103], abs=1e-6)


def test_cosine_and_constant_warmup() -> None:
    rates = _rates([0, 1, 4], LR_SCHEDULER_NAME="WarmupCosineLR", WARMUP_METHOD="constant",
                   WARMUP_ITERS=2, WARMUP_FACTOR=0.25)  # fmt: skip
    assert rates == pytest.approx([0.25, 0.25, 0.5])


def test_warmup_longer_than_the_training() -> None:
    rates = _rates([0, 7], MAX_ITER=8, WARMUP_ITERS=14, WARMUP_FACTOR=0.5, STEPS="()")
    assert rates == pytest.approx([0.5, 0.75])


@pytest.mark.parametrize("key", ["LR_SCHEDULER_NAME", "WARMUP_METHOD"])
def test_unknown_schedule(key: str) -> None:
    with pytest.raises(ConfigError, match=f"SOLVER.{key} is 'Nope'"):
        _rates([0], **{key: "Nope"})


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("full_model", [0.3, 0.4]), ("norm", [0.5, 0.5]), ("value", [0.5, 0.5]), (None, [3.0, 4.0])],
)
def test_clipping(kind: str | None, expected: list[float]) -> None:
    opts = ("SOLVER.CLIP_GRADIENTS.ENABLED", kind is not None)
    opts += ("SOLVER.CLIP_GRADIENTS.CLIP_TYPE", kind or "full_model")
    cfg = stand_in_config(Path("unused"), *opts, "SOLVER.CLIP_GRADIENTS.CLIP_VALUE", 0.5)
    parameters = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": [p]} for p in parameters])
    for parameter, grad in zip(parameters, (3.0, 4.0), strict=True):
        parameter.grad = torch.tensor([grad])
    assert clip_gradients(cfg, optimizer).item() == 5
    assert [p.grad.item() for p in parameters] == pytest.approx(expected, rel=1e-4)
