"""The cost of a model, by part."""

import json
from pathlib import Path

import pytest
import torch
from detectron2.modeling import META_ARCH_REGISTRY

import dvis_daq.recipes  # noqa: F401  registers the models
from dvis_daq.config import get_config
from dvis_daq.engine.costs import Stage, count_parameters
from tests.conftest import ROOT
from tests.tools.scripts import load_script

PARTS = ["backbone", "pixel decoder", "query decoder", "segmenter"]
SIZES = ["--height", "32", "--width", "64", "--tracks", "3", "--repeats", "1"]


@pytest.fixture(scope="module")
def tool():
    return load_script("tools/analyze_model.py")


def test_trackers_have_the_parameters_of_the_paper() -> None:
    """Tab. A4b: 44.15 M, 9.94 M and 8.68 M."""
    cfg = get_config(ROOT / "configs" / "ovis" / "DVIS_DAQ_online_R50.yaml")
    with torch.device("meta"):
        model = META_ARCH_REGISTRY.get("DVIS_DAQ_online")(cfg)
    head, tracker = model.segmenter.sem_seg_head, model.tracker
    segmenter = Stage("segmenter", model.segmenter, {"decoder": head.predictor}, None, whole=True)
    two = {"tracker 2": tracker.disappearance}
    owned = {"tracker 2": [tracker.background_queries]}
    trackers = Stage("tracker 1", tracker, two, None, owned)
    counts = count_parameters(segmenter) | count_parameters(trackers)
    rounded = {name: round(number / 1e6, 2) for name, number in counts.items()}
    assert rounded["segmenter"] == 44.15
    assert (rounded["tracker 1"], rounded["tracker 2"]) == (9.94, 8.68)


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        ("MinVIS", []),
        ("DVIS_DAQ_online", ["tracker 1", "tracker 2"]),
        ("DVIS_DAQ_offline", ["tracker 1", "tracker 2", "refiner"]),
        ("DVIS_online", ["tracker"]),
    ],
)
def test_every_method_has_its_rows(
    tool, config: str, parts: list[str], tmp_path: Path, capsys
) -> None:
    out = tmp_path / "costs.json"
    file = str(ROOT / "configs" / "synthetic" / f"{config}.yaml")
    tool.main(["--config-file", file, *SIZES, "--json", str(out)])
    rows = {row["part"]: row for row in json.loads(out.read_text())["rows"]}
    assert list(rows) == ["backbone", "pixel decoder", "query decoder", "segmenter", *parts]
    for row in rows.values():
        assert row["parameters"] > 0 and row["operations"] > 0
        assert row["milliseconds"] > 0 and row["peak_bytes"] > 0
    decoders = sum(
        rows[name]["parameters"] for name in ("backbone", "pixel decoder", "query decoder")
    )
    assert rows["segmenter"]["parameters"] == decoders
    assert rows["segmenter"]["peak_bytes"] >= rows["pixel decoder"]["peak_bytes"]
    assert "segmenter, all parts, G: " in capsys.readouterr().out


@pytest.mark.parametrize(
    "opts",
    [
        ["MODEL.BACKBONE.NAME", "D2VitAdapterDinoV2"],
        ["MODEL.BACKBONE.NAME", "D2SwinTransformer", "MODEL.SWIN.EMBED_DIM", "24"],
        ["MODEL.SEGMENTER", "encoder_only"],
    ],
)
def test_every_backbone_can_be_traced(tool, opts: list[str], capsys) -> None:
    file = str(ROOT / "configs" / "synthetic" / "MinVIS.yaml")
    tool.main(["--config-file", file, *SIZES, "MODEL.VIT_ADAPTER.NAME", "vitt", *opts])
    assert "conv" in capsys.readouterr().out


def test_benchmark_adds_the_share_of_the_limit(tmp_path, capsys) -> None:
    config = str(ROOT / "configs" / "synthetic" / "MinVIS.yaml")
    file = tmp_path / "deep" / "model.json"
    load_script("benchmarks/model.py").main(
        ["--config-file", config, *SIZES, "--json", str(file)]
    )  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:6] == ["part", "params", "(M)", "operations", "(G)", "time"]
    rows = json.loads(file.read_text())["rows"]
    assert [row["part"] for row in rows] == PARTS
    for row in rows:
        assert row["share_of_limit"] == pytest.approx(row["limit_ms"] / row["milliseconds"])


def test_bad_file_ends_with_one_line(tool) -> None:
    with pytest.raises(SystemExit, match="error: nowhere.yaml: no such configuration file"):
        tool.main(["--config-file", "nowhere.yaml"])
