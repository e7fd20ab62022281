"""Operations, time and memory of a module, by part."""

import torch
from torch import nn

from dvis_daq.engine.costs import (
    LivingTensors,
    Stage,
    count_operations,
    count_parameters,
    peak_memory,
    time_parts,
)

CPU = torch.device("cpu")


def _stage(*, whole: bool = False) -> Stage:
    """Two layers of 8 x 16 and 16 x 4 for 5 rows; the first is told apart."""
    module = nn.Sequential(nn.Linear(8, 16, bias=False), nn.Linear(16, 4, bias=False))
    rows = torch.zeros(5, 8)
    return Stage("rest", module, {"first": module[0]}, lambda: module(rows), whole=whole)


def test_a_stage_is_what_its_parts_leave() -> None:
    assert count_parameters(_stage()) == {"rest": 64, "first": 128}
    counted, kinds = count_operations(_stage())
    assert counted == {"rest": 5 * 64, "first": 5 * 128}
    assert kinds == {"linear": 5 * 192}


@torch.no_grad()
def test_a_whole_stage_includes_its_parts() -> None:
    stage = _stage(whole=True)
    assert count_parameters(stage) == {"first": 128, "rest": 192}
    times = time_parts(stage, 3, CPU)
    assert 0 < times["first"] < times["rest"]
    # 5 x 16 floats, then these and 5 x 4 more
    assert peak_memory(stage, CPU) == {"first": 320, "rest": 400}


def test_parameters_may_belong_to_a_part_from_outside() -> None:
    stage = _stage()
    shared = Stage("rest", stage.module, stage.parts, stage.run, {"first": [stage.module[1]]})
    assert count_parameters(shared) == {"rest": 0, "first": 192}


class _Attends(nn.Module):
    def forward(self) -> torch.Tensor:
        q, k, v = torch.zeros(2, 3, 5, 8), torch.zeros(2, 3, 7, 8), torch.zeros(2, 3, 7, 8)
        rows = torch.zeros(6, 4, dtype=torch.int64)
        bags = nn.functional.embedding_bag(rows, torch.zeros(9, 8), mode="sum")
        return nn.functional.scaled_dot_product_attention(q, k, v).sum() + bags.sum()


def test_attention_and_sampling_are_counted() -> None:
    module = _Attends()
    _, kinds = count_operations(Stage("all", module, {}, module))
    assert kinds["attention"] == 2 * (2 * 3) * 5 * 7 * 8
    assert kinds["sampling"] == 6 * 4 * 8


def test_living_tensors_are_those_not_yet_freed() -> None:
    with LivingTensors() as ruler:
        first = torch.zeros(1000)
        second = first + 1
        view = second.view(10, 100)
        assert ruler.now() == 8000
        del first
        assert ruler.now() == 4000 and ruler.peak() == 8000
        view.add_(1)
        assert ruler.now() == 4000
        ruler.reset()
        assert ruler.peak() == 4000
        del second, view
        assert ruler.now() == 0
