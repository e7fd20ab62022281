"""tools/convert_checkpoint.py: both directions, what it says, its bad inputs."""

import json
from pathlib import Path
from types import ModuleType

import pytest
import torch

from dvis_daq.checkpoint import read_checkpoint, write_weights
from tests.tools.scripts import load_script

RELEASED = {
    "backbone.stem.conv1.weight": torch.rand(2, 3),
    "sem_seg_head.predictor.query_feat.weight": torch.rand(8, 4),
    "sem_seg_head.predictor.class_embed.weight": torch.rand(26, 4),
    "tracker.slot_ffn_layers.5.linear1.weight": torch.rand(2, 2),
    "refiner.activation_proj.weight": torch.rand(1, 2),
    "daq_criterion.empty_weight": torch.rand(26),
}


@pytest.fixture(scope="module")
def convert() -> ModuleType:
    return load_script("tools/convert_checkpoint.py")


def test_there_and_back(
    convert: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    released, ours, back = (tmp_path / n for n in ("r.pth", "o.safetensors", "b.pth"))
    torch.save({"model": RELEASED, "iteration": 9}, released)
    convert.main([str(released), str(ours), "--to", "ours"])
    said = capsys.readouterr().out
    assert "5 weights (segmenter + tracker + refiner, 25 classes, 8 queries)" in said
    content = read_checkpoint(ours)
    assert "tracker.disappearance.layers.5.ffn.linear1.weight" in content["model"]
    assert content["metadata"]["names"] == "ours"
    convert.main([str(ours), str(back), "--to", "official"])
    got = torch.load(back, weights_only=True)["model"]
    want = {name: value for name, value in RELEASED.items() if "criterion" not in name}
    assert got.keys() == want.keys()
    assert all(torch.equal(got[name], want[name]) for name in want)


def test_every_released_name(convert: ModuleType, tmp_path: Path, reference_dir: Path) -> None:
    manifest = json.loads((reference_dir / "state_dicts/DAQ_Offline_R50_ovis.json").read_text())
    state = {name: torch.zeros(1) for name in manifest}
    write_weights(tmp_path / "r.safetensors", state)
    convert.main([str(tmp_path / "r.safetensors"), str(tmp_path / "o.pth"), "--to", "ours"])
    convert.main([str(tmp_path / "o.pth"), str(tmp_path / "b.pth"), "--to", "official"])
    names = read_checkpoint(tmp_path / "b.pth")["model"].keys()
    assert names == {name for name in state if "criterion" not in name}


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("nowhere.pth", "o.pth", "nowhere.pth: no such checkpoint"),
        ("noise.pth", "o.pth", "noise.pth: damaged, incomplete or no checkpoint"),
        ("r.pth", "o.h5", "written as .safetensors or .pth"),
    ],
)
def test_bad_input(
    convert: ModuleType, tmp_path: Path, source: str, target: str, message: str
) -> None:
    torch.save(RELEASED, tmp_path / "r.pth")
    (tmp_path / "noise.pth").write_bytes(b"noise")
    with pytest.raises(SystemExit, match=message) as error:
        convert.main([str(tmp_path / source), str(tmp_path / target), "--to", "ours"])
    assert str(error.value).startswith("error: ")


def test_direction_is_asked_for(convert: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        convert.main(["a.pth", "b.pth"])
    assert "--to" in capsys.readouterr().err
