"""Each row of the paper's ablations: what the list says, one training step, one video."""

from __future__ import annotations

from functools import cache

import pytest
import torch
import yaml
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage

import dvis_daq.recipes  # noqa: F401  registers the models
from dvis_daq.config import get_config
from dvis_daq.model import VideoModel
from dvis_daq.structures import ClipTargets
from tests.conftest import ROOT

FOLDER = ROOT / "configs" / "ablations"
TABLES = yaml.safe_load((FOLDER / "tables.yaml").read_text())
ROWS = [row for table in TABLES.values() for row in table["rows"]]
FILES = [row["config"] for row in ROWS]
FRAMES, SIZE = 5, 64
LATE = 10**6  # an iteration in the last stage


def config(file: str) -> CfgNode:
    options = ["MODEL.WEIGHTS", "", "SOLVER.CACHE_SEGMENTER", "False"]
    return get_config(FOLDER / file, options)


@cache
def model(file: str) -> VideoModel:
    torch.manual_seed(0)
    return build_model(config(file))


def video() -> dict[str, object]:
    """Four squares, one of which is absent in the middle."""
    images = torch.randint(0, 256, (FRAMES, 3, SIZE, SIZE)).float()
    masks = torch.zeros(4, FRAMES, SIZE, SIZE, dtype=torch.bool)
    for g in range(4):
        masks[g, :, 16 * g : 16 * g + 12, :12] = True
    masks[3, 2] = False
    targets = ClipTargets(torch.arange(4), masks, torch.arange(4))
    return {"images": images, "targets": targets, "height": SIZE, "width": SIZE}


def test_every_file_is_a_row_and_every_row_a_file() -> None:
    found = {file.name for file in FOLDER.glob("*.yaml")}
    bases = {"base.yaml", "base_offline.yaml", "tables.yaml"}
    assert sorted(found - bases) == sorted(FILES)
    assert len(FILES) == len(set(FILES))


@pytest.mark.parametrize("file", [row for row in FILES if not row.startswith(("A1_1", "A4c"))])
def test_the_first_stage_is_15_percent_of_the_budget(file: str) -> None:
    cfg = config(file)
    first, _ = cfg.MODEL.EDS.STAGES
    assert first["UNTIL"] == round(0.15 * cfg.SOLVER.MAX_ITER)


@pytest.mark.parametrize("key", TABLES)
def test_a_table_says_all_that_a_run_needs(key: str) -> None:
    table = TABLES[key]
    assert table["stage"] in ("online", "offline") and table["title"]
    assert (FOLDER / table["segmenter"]).is_file()
    assert ("tracker" in table) == (table["stage"] == "offline")
    assert table.get("tracker", FILES[0]) in FILES
    assert all(row["config"].startswith(f"{key}_{n}_") for n, row in enumerate(table["rows"], 1))


def test_the_comment_of_a_file_tells_the_row_and_the_figure() -> None:
    for key, table in TABLES.items():
        for n, row in enumerate(table["rows"], 1):
            comment = (FOLDER / row["config"]).read_text().splitlines()[0]
            figure = f"Paper: {row['paper']['AP']} AP." if row["paper"] else "No figure"
            assert comment.startswith(f"# Tab. {key}, row {n}: {row['name']}. {figure}"), comment


@pytest.mark.parametrize("row", [r for r in ROWS if "same_as" in r], ids=lambda r: r["config"])
def test_rows_that_are_said_to_be_the_same(row: dict[str, str]) -> None:
    one, other = config(row["config"]).clone(), config(row["same_as"]).clone()
    for cfg in (one, other):
        cfg.defrost()
        cfg.OUTPUT_DIR = ""
    assert one == other


def test_no_two_other_rows_are_the_same() -> None:
    seen: dict[str, str] = {}
    for row in ROWS:
        cfg = config(row["config"]).clone()
        cfg.defrost()
        cfg.OUTPUT_DIR = ""
        first = seen.setdefault(cfg.dump(), row["config"])
        assert first == row["config"] or "same_as" in row, f"{row['config']} is {first}"


@pytest.mark.parametrize("file", FILES)
def test_a_training_step_reaches_every_parameter(file: str) -> None:
    """In the early and in the late stage; DistributedDataParallel waits for all gradients."""
    for iteration in (0, LATE):
        learner = model(file).train()
        learner.zero_grad()
        with EventStorage(iteration):
            losses = learner([video()])
        total = sum(losses.values())
        assert total.isfinite()
        total.backward()
        learning = [(n, p) for n, p in learner.named_parameters() if p.requires_grad]
        assert learning and [n for n, p in learning if p.grad is None] == []


@pytest.mark.parametrize("file", FILES)
def test_a_video_passes(file: str) -> None:
    [result] = model(file).eval()([video()])
    assert 0 < len(result["scores"]) <= config(file).TEST.MAX_INSTANCES


def test_the_rows_of_table_3a_differ_in_what_they_have() -> None:
    def parts(file: str) -> tuple[bool, bool]:
        names = dict(model(file).tracker.named_parameters())
        return "emergence_query.weight" in names, "background_queries.weight" in names

    rows = [row["config"] for row in TABLES["3a"]["rows"]]
    static, emergence, both = (False, False), (True, False), (True, True)
    assert [parts(file) for file in rows] == [static, emergence, static, emergence, both, both]
