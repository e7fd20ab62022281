"""Two processes with half of the batch each train as one does with all of it."""

import argparse
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.utils import comm
from torch import Tensor

import dvis_daq.recipes  # noqa: F401
from dvis_daq.checkpoint import read_checkpoint
from dvis_daq.config import get_config
from dvis_daq.data.loader import build_train_loader
from dvis_daq.engine import launch
from dvis_daq.engine.setup import build_model
from dvis_daq.engine.trainer import Trainer
from dvis_daq.engine.transitions import measure_transitions
from tests.tiny_run import tiny_config
from tests.unit.engine.stand_in import Stream, stand_in_config

OPTIONS = ("MODEL.META_ARCHITECTURE", "certain_stand_in", "SOLVER.IMS_PER_BATCH", 4,
           "SOLVER.ACCUMULATION", 2)  # fmt: skip
RECIPES = ("MinVIS", "DVIS_DAQ_online", "GenVIS", "GenVIS_DAQ")

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason="with a GPU, launch takes one each"
)


def _share(cfg: CfgNode, start: int) -> Stream:
    world = comm.get_world_size()
    return Stream(cfg, start, slice(comm.get_rank(), None, world))


def train(args: argparse.Namespace) -> None:
    """What each process does."""
    trainer = Trainer(stand_in_config(args.output, *OPTIONS), _share)
    trainer.prepare()
    trainer.train()


def _infinite_for_rank_1(cfg: CfgNode, start: int) -> Iterator[Any]:
    """Batch 3 has one clip that is infinite, the first of the second process's share."""
    whole = Stream(cfg, start)
    for number, batch in enumerate(whole, start):
        if number == 3:
            batch[1]["images"] = batch[1]["images"] + torch.inf
        yield batch[comm.get_rank() :: comm.get_world_size()]


def train_skipping(args: argparse.Namespace) -> None:
    """`SOLVER.NON_FINITE skip`, where only one process meets the number."""
    folder = args.output / "skipping"
    options = (*OPTIONS[:4], "SOLVER.NON_FINITE", "skip", "SOLVER.MAX_ITER", 6)
    trainer = Trainer(stand_in_config(folder, *options), _infinite_for_rank_1)
    trainer.prepare()
    trainer.train()


def _launch(main: Any, output: Path, processes: int) -> None:
    args = argparse.Namespace(output=output, num_gpus=processes)
    vars(args).update(num_machines=1, machine_rank=0, dist_url="auto")
    launch.run(main, args, device="cpu")


def everything(args: argparse.Namespace) -> None:
    """One launch for all tests: the start takes most of the time."""
    train(args)
    train_skipping(args)
    write_gradients(args)
    write_gap(args)
    if comm.get_world_size() == 2:
        resume_in_two(args)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `1` and `2`, what one process and two have written."""
    folder = tmp_path_factory.mktemp("processes")
    for recipe in (*RECIPES, "DVIS_offline"):
        tiny_config(folder, recipe)
    for count in (1, 2):
        (folder / str(count)).mkdir()
        _launch(everything, folder / str(count), count)
    return folder


def test_two_equal_one(runs: Path) -> None:
    one, two = (read_checkpoint(runs / f"{count}/model_final.pth") for count in (1, 2))
    for name, value in one["model"].items():
        torch.testing.assert_close(two["model"][name], value, rtol=1e-9, atol=1e-9)
    assert len(two["random"]) == 2


def test_a_step_is_left_out_in_all_processes(runs: Path) -> None:
    """One process alone met the infinite clip; weights are finite and those of one process."""
    one, two = (read_checkpoint(runs / f"{count}/skipping/model_final.pth") for count in (1, 2))
    for name, value in one["model"].items():
        assert value.isfinite().all(), name
        torch.testing.assert_close(two["model"][name], value, rtol=1e-9, atol=1e-9)
    dumps = [file.name for file in (runs / "2/skipping/non_finite").iterdir()]
    assert dumps == ["iteration_0000003_rank1.pth"]


class GridPoints:
    """Points without chance: the same lattice for every mask."""

    def uniform(self, sets: int, *, like: Tensor, frames: int = 1) -> Tensor:
        steps = (torch.arange(6, dtype=like.dtype) + 0.5) / 6
        lattice = torch.cartesian_prod(steps, steps).repeat(frames, 1)
        return lattice.expand(sets, -1, -1)

    def uncertain(self, logits: Tensor, *, frames: int = 1) -> Tensor:
        return self.uniform(len(logits), like=logits, frames=frames)


def _register_exact() -> None:
    """Recipes in float64 whose losses do not depend on chance."""
    for recipe in RECIPES:
        if f"exact_{recipe}" in META_ARCH_REGISTRY:
            continue

        def build(cfg: CfgNode, recipe: str = recipe) -> torch.nn.Module:
            torch.manual_seed(0)
            model = META_ARCH_REGISTRY.get(recipe)(cfg).double()
            model.objective = dataclasses.replace(model.objective, points=GridPoints())
            return model

        build.__name__ = f"exact_{recipe}"
        META_ARCH_REGISTRY.register(build)


def _exact_config(folder: Path, recipe: str) -> CfgNode:
    stages = "[{'FRAMES': 3, 'SCORE': 0.1, 'HIDE': 'none'}]"
    options = ["MODEL.META_ARCHITECTURE", f"exact_{recipe}", "MODEL.EDS.STAGES", stages,
               "INPUT.CLIP.FRAMES", "3", "SOLVER.IMS_PER_BATCH", "4", "SOLVER.MAX_ITER", "1",
               "SOLVER.CLIP_GRADIENTS.ENABLED", "False", "DATASETS.TEST", "()",
               "SOLVER.ACCUMULATION", "2", "MODEL.BACKBONE.NAME", "build_resnet_backbone",
               "MODEL.RESNETS.DEPTH", "18", "MODEL.RESNETS.RES2_OUT_CHANNELS", "64",
               "MODEL.RESNETS.NORM", "FrozenBN", "MODEL.RESNETS.OUT_FEATURES",
               "['res2', 'res3', 'res4', 'res5']"]  # fmt: skip
    return get_config(folder.parent / f"{recipe}.yaml", [*options, "OUTPUT_DIR", str(folder)])


def write_gradients(args: argparse.Namespace) -> None:
    """Gradients of the first step of each recipe, into a file of the main process."""
    _register_exact()
    for recipe in RECIPES:
        trainer = Trainer(_exact_config(args.output, recipe))
        trainer.prepare()
        found: dict[str, Tensor] = {}
        parameters = dict(trainer.checkpointer.model.named_parameters())

        def keep(*_: Any, into: Any = found, parameters: Any = parameters) -> None:
            into.update({n: p.grad.clone() for n, p in parameters.items() if p.grad is not None})

        trainer.optimizer.register_step_pre_hook(keep)
        trainer.train()
        if comm.is_main_process():
            torch.save(found, args.output / f"gradients_{recipe}.pth")


def write_gap(args: argparse.Namespace) -> None:
    """The transition gap, with one video for each of two processes."""
    cfg = _exact_config(args.output, "DVIS_DAQ_online")
    [name] = get_config(args.output.parent / "DVIS_DAQ_online.yaml").DATASETS.TEST
    figures = measure_transitions(cfg, build_model(cfg), name)
    if comm.is_main_process():
        (args.output / "gap.json").write_text(json.dumps(figures))
    else:
        assert figures == {}


def test_the_transition_gap_of_two_processes(runs: Path) -> None:
    one, two = (json.loads((runs / f"{count}/gap.json").read_text()) for count in (1, 2))
    assert one["all"]["events"] == 2
    for kind, figures in one.items():
        assert two[kind] == pytest.approx(figures)


def test_gradients_of_real_recipes(runs: Path) -> None:
    """Several clips a process, accumulation, a frozen part, no batch norm; 1e-6 in float64."""
    for recipe in RECIPES:
        one, two = (
            torch.load(runs / f"{count}/gradients_{recipe}.pth", weights_only=True)
            for count in (1, 2)
        )
        assert one.keys() == two.keys()
        assert len(one) > 20
        assert sum(bool(value.any()) for value in one.values()) > 20
        for name, value in one.items():
            torch.testing.assert_close(two[name], value, rtol=1e-6, atol=1e-9, msg=name)


class _Killed(BaseException):
    """Like a signal: no handler of ordinary errors sees it."""


def _killed_after(batches: int) -> Any:
    def build(cfg: CfgNode, start: int) -> Iterator[Any]:
        for number, batch in enumerate(build_train_loader(cfg, start), start):
            if number == batches:
                raise _Killed
            yield batch

    return build


def resume_in_two(args: argparse.Namespace) -> None:
    """A straight run, and one that is killed and resumed; chance differs between processes."""
    for folder, seed, build in (
        ("straight", 3, build_train_loader),
        ("killed", 3, _killed_after(3)),
        ("killed", 99, build_train_loader),
    ):
        file = args.output.parent / "DVIS_offline.yaml"
        options = ["SOLVER.MAX_ITER", "5", "SOLVER.CHECKPOINT_PERIOD", "2", "DATASETS.TEST", "()",
                   "MODEL.REFINER.CONTRASTIVE", "True"]  # fmt: skip
        cfg = get_config(file, [*options, "OUTPUT_DIR", str(args.output / folder)])
        torch.manual_seed(seed + comm.get_rank())
        trainer = Trainer(cfg, build)
        trainer.prepare(resume=True)
        if build is build_train_loader:
            trainer.train()
        else:
            with pytest.raises(_Killed):
                trainer.train()


def test_two_processes_resume_exactly(runs: Path) -> None:
    """Each has its own random numbers and its own memory of classes."""
    straight, resumed = (
        read_checkpoint(runs / "2" / folder / "model_final.pth")
        for folder in ("straight", "killed")
    )
    for name, value in straight["model"].items():
        assert torch.equal(resumed["model"][name], value), name
    memories = straight["objective"]
    assert len(memories) == 2
    assert memories[0]
    for one, other in zip(memories, resumed["objective"], strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[label], other[label]) for label in one)
