"""Trainings of one seed each, as processes of `tools/`; what is finished is not done again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvis_daq.config import get_config

ROOT = Path(__file__).resolve().parents[2]
# CPU seconds an iteration of configs/synthetic: segmenter, tracker, refiner; measured on one
# core of a machine with two.
SECONDS_PER_ITERATION = (0.125, 0.08, 0.12)
SECONDS_OF_START_AND_EVALUATION = 30.0


class RunError(RuntimeError):
    """A training or an evaluation failed, or its folder holds another one."""


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        config: YAML.
        seed: `SEED`.
        start: the run whose weights it starts from; None for random weights.
        share: of the configured iterations.
    """

    config: Path
    seed: int
    start: Run | None = None
    share: float = 1.0

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.config.stem}_seed{self.seed}"

    def chain(self) -> list[Run]:
        """What it starts from, first trained first, and itself."""
        return [*(self.start.chain() if self.start else []), self]

    def iterations(self) -> int:
        """Iterations of this run, at least 2."""
        return _shared(get_config(self.config).SOLVER.MAX_ITER, self.share)

    def overrides(self) -> list[str]:
        """Shorter, with the stages of the simulation in proportion."""
        if self.share == 1:
            return []
        stages = [
            {**stage, "UNTIL": _shared(stage["UNTIL"], self.share)} if "UNTIL" in stage else stage
            for stage in get_config(self.config).MODEL.EDS.STAGES
        ]
        return ["SOLVER.MAX_ITER", str(self.iterations()), "MODEL.EDS.STAGES", repr(stages)]


@dataclass(frozen=True)
class Bench:
    """Where runs are made, and on which data.

    Attributes:
        output: a folder for each run, `Run.name`.
        data: train.json + train/ and val.json + val/.
        tests: folders with val.json + val/, by name; every run is scored on each.
        opts: KEY VALUE overrides of all runs.
    """

    output: Path
    data: Path
    tests: Mapping[str, Path]
    opts: Sequence[str] = ()

    def folder(self, run: Run) -> Path:
        return self.output / run.name

    def weights(self, run: Run) -> Path:
        return self.folder(run) / "model_final.safetensors"

    def is_trained(self, run: Run) -> bool:
        return self.weights(run).is_file()

    def train(self, run: Run) -> None:
        """Trains, unless the weights are there; goes on where an earlier try stopped.

        Raises:
            RunError: the training failed, or the folder holds one with other settings.
        """
        start = str(self.weights(run.start)) if run.start else ""
        settings = ["SEED", str(run.seed), *run.overrides(), *self.opts]
        self._claim(run, settings)
        if self.is_trained(run):
            return
        command = ["train_net.py", "--config-file", str(run.config), "--resume"]
        command += data_sets(self.data, self.data)
        command += ["DATASETS.TEST", "()", "MODEL.WEIGHTS", start]
        call([*command, "OUTPUT_DIR", str(self.folder(run)), *settings], self.folder(run), "train")

    def score(self, run: Run, test: str) -> dict[str, Any]:
        """The figures of `tools/eval.py --events` on one of the tests."""
        folder = self.folder(run)
        file = folder / f"{test}.json"
        if not file.is_file():
            command = ["eval.py", "--events", "--json", str(file), "--workers", "1"]
            command += ["--config-file", str(run.config), "--weights", str(self.weights(run))]
            command += data_sets(self.data, self.tests[test])
            call([*command, "OUTPUT_DIR", str(folder / test), *self.opts], folder, test)
        return json.loads(file.read_text())

    def cost(self, run: Run) -> dict[str, float]:
        """CPU seconds that its training and evaluations took, by name."""
        file = self.folder(run) / "cost.json"
        return json.loads(file.read_text()) if file.is_file() else {}

    def estimate(self, run: Run) -> float:
        """CPU seconds that are left to do: from constants, 0 for a finished run."""
        done = self.is_trained(run) and all(
            (self.folder(run) / f"{test}.json").is_file() for test in self.tests
        )
        if done:
            return 0.0
        depth = min(len(run.chain()), len(SECONDS_PER_ITERATION)) - 1
        work = 0.0 if self.is_trained(run) else run.iterations() * SECONDS_PER_ITERATION[depth]
        return work + SECONDS_OF_START_AND_EVALUATION

    def _claim(self, run: Run, settings: Sequence[str]) -> None:
        """Makes the folder, or checks that it belongs to a run with the same settings."""
        file = self.folder(run) / "run.json"
        start = run.start.name if run.start else None
        wanted = {"config": run.config.name, "start": start, "settings": list(settings)}
        if file.is_file():
            found = json.loads(file.read_text())
            if found != wanted:
                raise RunError(
                    f"{file.parent} holds a run with other settings ({found['settings']}, wanted "
                    f"{wanted['settings']}): remove it, or choose another --output"
                )
            return
        if self.is_trained(run):
            raise RunError(f"{file.parent} holds weights of unknown origin: remove them")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(wanted, indent=1))


def finish(bench: Bench, runs: Sequence[Run], jobs: int) -> dict[Run, dict[str, dict[str, Any]]]:
    """Trains and scores runs and what they start from, as far as it is not done.

    Args:
        jobs: processes at a time.

    Returns:
        For each of `runs` its figures by test.

    Raises:
        RunError: a process failed; those that run are waited for, no other is started.
    """
    futures: dict[Run, Future[dict[str, dict[str, Any]]]] = {}

    def one(run: Run) -> dict[str, dict[str, Any]]:
        if run.start:  # it was submitted earlier, so it is done or has a thread
            futures[run.start].result()
        bench.train(run)
        return {test: bench.score(run, test) for test in bench.tests}

    with ThreadPoolExecutor(jobs) as pool:
        for run in in_order(runs):
            futures[run] = pool.submit(one, run)
        try:
            for future in futures.values():
                future.result()
        except RunError:
            pool.shutdown(cancel_futures=True)
            raise
    return {run: futures[run].result() for run in runs}


def in_order(runs: Iterable[Run]) -> Iterator[Run]:
    """Each run once, and before it what it starts from; all first stages come first."""
    chains = [run.chain() for run in runs]
    found: dict[Run, int] = {}
    for chain in chains:
        found |= {run: depth for depth, run in enumerate(chain)}
    yield from sorted(found, key=found.__getitem__)


def call(command: Sequence[str], folder: Path, name: str) -> None:
    """Runs a tool with one thread; its output goes to a log file, its CPU seconds to cost.json.

    Raises:
        RunError: it failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with open(log, "w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "tools" / command[0]), *command[1:]],
            stdout=file, stderr=subprocess.STDOUT, env=environment,
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RunError(f"{command[0]} failed with {process.returncode}; see {log}")
    cost = folder / "cost.json"
    seconds = json.loads(cost.read_text()) if cost.is_file() else {}
    seconds[name] = round(usage.ru_utime + usage.ru_stime, 1)
    cost.write_text(json.dumps(seconds))


def data_sets(train: Path, test: Path) -> list[str]:
    """Overrides that name the two sets of the synthetic configurations."""
    parts = {"synthetic_train": train / "train", "synthetic_val": test / "val"}
    custom = [
        {"NAME": name, "TASK": "vis", "JSON": f"{path}.json", "IMAGES": str(path)}
        for name, path in parts.items()
    ]
    return ["DATASETS.CUSTOM", repr(custom)]


def _shared(iterations: int, share: float) -> int:
    return max(2, round(iterations * share))
