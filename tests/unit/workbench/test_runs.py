from __future__ import annotations

import json
import threading
from ast import literal_eval
from pathlib import Path

import pytest

from dvis_daq.config import get_config
from dvis_daq.workbench import runs as module
from dvis_daq.workbench.runs import ROOT, Bench, Run, RunError, call, finish, in_order

SEGMENTER = ROOT / "configs" / "synthetic" / "MinVIS.yaml"
TRACKER = ROOT / "configs" / "synthetic" / "DVIS_DAQ_online.yaml"


def row(seed: int = 0, share: float = 1.0) -> Run:
    return Run(TRACKER, seed, Run(SEGMENTER, seed), share)


def test_a_shorter_run_keeps_the_proportions_of_its_stages():
    assert row().overrides() == []
    cfg = get_config(TRACKER)
    key, iterations, stages, value = row(share=0.5).overrides()
    assert (key, stages) == ("SOLVER.MAX_ITER", "MODEL.EDS.STAGES")
    assert int(iterations) == cfg.SOLVER.MAX_ITER / 2
    first, last = literal_eval(value)
    assert first == {**cfg.MODEL.EDS.STAGES[0], "UNTIL": cfg.MODEL.EDS.STAGES[0]["UNTIL"] / 2}
    assert last == cfg.MODEL.EDS.STAGES[1]
    assert "UNTIL" not in last
    assert row(share=1e-9).iterations() == 2


def test_what_is_started_from_comes_first_and_once():
    runs = [Run(TRACKER, 0, Run(SEGMENTER, 0)), Run(SEGMENTER, 1), Run(TRACKER, 1)]
    refiner = Run(Path("refiner.yaml"), 0, runs[0])
    order = list(in_order([refiner, *runs, row()]))
    assert len(order) == 5
    assert order[-2:] == [runs[0], refiner]


class Tool:
    """Takes the place of the processes: writes what a tool writes, and remembers."""

    def __init__(self, fails: str = "") -> None:
        self.done: list[str] = []
        self.fails = fails
        self.lock = threading.Lock()

    def __call__(self, command: list[str], folder: Path, name: str) -> None:
        with self.lock:
            self.done.append(f"{folder.name} {name}")
        if self.fails and self.fails in f"{folder.name} {name}":
            raise RunError(self.fails)
        if name == "train":
            folder.joinpath("model_final.safetensors").touch()
        else:
            folder.joinpath(f"{name}.json").write_text(json.dumps({"AP": 0.5}))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "out", tmp_path, {"val": tmp_path, "long": tmp_path})


@pytest.mark.parametrize("jobs", [1, 3])
def test_nothing_is_done_twice(bench: Bench, monkeypatch: pytest.MonkeyPatch, jobs: int) -> None:
    tool = Tool()
    monkeypatch.setattr(module, "call", tool)
    found = finish(bench, [row(0), row(1)], jobs)
    assert found[row(0)] == {"val": {"AP": 0.5}, "long": {"AP": 0.5}}
    assert len(tool.done) == len(set(tool.done)) == 2 * 2 * 3
    for seed in (0, 1):
        first = tool.done.index(f"MinVIS_seed{seed} train")
        assert first < tool.done.index(f"DVIS_DAQ_online_seed{seed} train")
    (bench.folder(row(1)) / "long.json").unlink()
    assert bench.estimate(row(0)) == 0
    assert 0 < bench.estimate(row(1)) < Bench(Path("nowhere"), Path(), {}).estimate(row(1))
    finish(bench, [row(0), row(1)], jobs)
    assert tool.done[12:] == ["DVIS_DAQ_online_seed1 long"]


def test_a_failure_ends_it_and_it_goes_on_from_there(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = Tool(fails="DVIS_DAQ_online_seed0 train")
    monkeypatch.setattr(module, "call", tool)
    with pytest.raises(RunError, match="seed0 train"):
        finish(bench, [row(0), row(1)], 1)
    assert "MinVIS_seed1 train" in tool.done
    tool.fails = ""
    assert set(finish(bench, [row(0), row(1)], 1)) == {row(0), row(1)}
    assert tool.done.count("MinVIS_seed0 train") == 1
    tool.fails = "MinVIS"
    with pytest.raises(RunError, match="MinVIS"):  # nothing starts on what failed
        finish(bench, [row(2)], 2)
    assert not any("DVIS_DAQ_online_seed2" in done for done in tool.done)


def test_a_folder_of_other_settings_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "call", Tool())
    finish(bench, [row()], 1)
    with pytest.raises(RunError, match="DVIS_DAQ_online_seed0 holds a run with other settings"):
        finish(bench, [row(share=0.5)], 1)
    (bench.folder(row()) / "run.json").unlink()
    with pytest.raises(RunError, match="unknown origin"):
        finish(bench, [row()], 1)


def test_a_process_leaves_its_log_and_its_cost(tmp_path: Path) -> None:
    call(["eval.py", "--help"], tmp_path / "new", "help")
    assert "usage" in (tmp_path / "new" / "help.log").read_text()
    assert json.loads((tmp_path / "new" / "cost.json").read_text())["help"] > 0
    with pytest.raises(RunError, match=r"eval.py failed with 2; see .*wrong\.log"):
        call(["eval.py", "--wrong"], tmp_path, "wrong")
    assert not (tmp_path / "cost.json").exists()
