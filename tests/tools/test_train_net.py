"""tools/train_net.py: a tiny run from start to finish, and its bad inputs."""

import hashlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from dvis_daq.checkpoint import read_checkpoint
from tests.tiny_run import tiny_config
from tests.tools.scripts import load_script


@pytest.fixture(autouse=True)
def _quiet_loggers() -> Iterator[None]:
    """The handlers that a run installs end with its test."""
    yield
    for name in ("detectron2", "fvcore", "dvis_daq"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True


@pytest.fixture(scope="module")
def train_net() -> ModuleType:
    return load_script("tools/train_net.py")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration file beside its data."""
    return tiny_config(tmp_path_factory.mktemp("train_net"))


def test_trains_resumes_and_hands_out_weights(
    train_net: ModuleType, tiny: Path, tmp_path: Path
) -> None:
    common = ["--config-file", str(tiny), "OUTPUT_DIR", str(tmp_path)]
    train_net.cli(common)
    assert (tmp_path / f"inference/tiny_{tiny.parent.name}/results.json").is_file()
    assert {"config.yaml", "log.txt", "metrics.json", "model_final.pth"} <= {
        path.name for path in tmp_path.iterdir()
    }
    content = read_checkpoint(tmp_path / "model_final.safetensors")
    metadata = content["metadata"]
    assert metadata["recipe"] == "MinVIS"
    assert metadata["parts"] == "segmenter"
    assert (metadata["num_classes"], metadata["num_queries"]) == ("3", "5")
    assert json.loads(metadata["classes"]) == ["dog", "cow", "cat"]
    assert "MAX_ITER: 3" in metadata["config"]

    train_net.cli(["--config-file", str(tiny), "--resume", "OUTPUT_DIR", str(tmp_path),
                   "SOLVER.MAX_ITER", "4"])  # fmt: skip
    lines = (tmp_path / "metrics.json").read_text().splitlines()
    assert "segm/AP50" in json.loads(lines[-1])
    assert [json.loads(line)["iteration"] for line in lines] == [2, 3, 3, 4]
    later = read_checkpoint(tmp_path / "model_final.safetensors")["model"]
    assert later.keys() == content["model"].keys()
    assert any(not torch.equal(later[name], content["model"][name]) for name in later)

    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert (manifest["status"], manifest["start_iteration"]) == ("finished", 3)
    assert "segm/AP50" in manifest["figures"]
    assert manifest["seed"]["SEED"] == 42
    assert manifest["versions"]["torch"] in torch.__version__
    data = manifest["data"][f"tiny_{tiny.parent.name}"]
    json_bytes = (tiny.parent / "tiny.json").read_bytes()
    assert data["annotations"]["sha256"] == hashlib.sha256(json_bytes).hexdigest()
    assert data["frames"]["folders"] == 2
    [first] = manifest["earlier"]
    assert (first["status"], first["start_iteration"]) == ("finished", 0)


def _files(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def test_dry_run_says_what_would_happen(
    train_net: ModuleType, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["OUTPUT_DIR", str(tmp_path), "SOLVER.ACCUMULATION", "3", "MODEL.DEVICE", "cuda"]
    train_net.cli(["--config-file", str(tiny), "--dry-run", "--num-gpus", "2", *options])
    text = capsys.readouterr().out
    assert "2 videos, 10 frames" in text
    assert "3 (0 of 3 are done), 6 clips each: 2 processes x 1 clips x 3 rounds" in text
    assert "frames of 32 x 57: weights 0." in text
    assert _files(tmp_path) == set()  # nothing is written


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["MODEL.WEIGHTS", "no.pth"], "no.pth: no such checkpoint"),
        (["DATASETS.TRAIN", "('x',)"], "no data set is called 'x'"),
        (["SOLVER.IMS_PER_BATCH", "3"], "IMS_PER_BATCH 3 is not a multiple of 2 processes"),
        (["DATASETS.TEST", "('ovis_val',)"], "ovis_val"),
    ],
)
def test_dry_run_fails_early(
    train_net: ModuleType, tiny: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    options = ["OUTPUT_DIR", str(tmp_path), *options]
    with pytest.raises(SystemExit) as error:
        train_net.cli(["--config-file", str(tiny), "--dry-run", "--num-gpus", "2", *options])
    assert str(error.value).startswith("error: ")
    assert message in str(error.value)


def test_dry_run_misses_a_frame(train_net: ModuleType, tmp_path: Path) -> None:
    file = tiny_config(tmp_path)
    (tmp_path / "images" / "b" / "004.png").unlink()
    with pytest.raises(SystemExit, match="b/004.png is missing; check the image root"):
        train_net.cli(["--config-file", str(file), "--dry-run"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config-file", "nowhere.yaml"], "nowhere.yaml: no such configuration file"),
        (["--config-file", "{tiny}", "SOLVER.NOPE", "1"], "Non-existent key: SOLVER.NOPE"),
        (["--config-file", "{tiny}", "SOLVER.MAX_ITER", "x"], "SOLVER.MAX_ITER"),
        (["--config-file", "{tiny}", "MODEL.WEIGHTS", "no.pth"], "no.pth: no such checkpoint"),
        (["--config-file", "{tiny}", "MODEL.META_ARCHITECTURE", "X"], "choose one of MinVIS"),
        (["--config-file", "{tiny}", "DATASETS.TRAIN", "('x',)"], "no data set is called 'x'"),
        (["--config-file", "{tiny}", "--eval-only"], "MODEL.WEIGHTS is empty"),
        (["--config-file", "{tiny}", "--num-gpus", "99", "MODEL.DEVICE", "cuda"], "--num-gpus 99"),
    ],
)
def test_bad_input_gets_one_line(
    train_net: ModuleType, tiny: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    arguments = [word.format(tiny=tiny) for word in arguments]
    if "nowhere.yaml" not in arguments:
        arguments += ["OUTPUT_DIR", str(tmp_path)]
    with pytest.raises(SystemExit) as error:
        train_net.cli(arguments)
    assert str(error.value).startswith("error: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_help_has_examples(train_net: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        train_net.cli(["--help"])
    assert error.value.code == 0
    assert "tools/train_net.py --config-file FILE --resume" in capsys.readouterr().out


def test_config_file_is_asked_for(
    train_net: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        train_net.cli([])
    assert "--config-file is required" in capsys.readouterr().err
