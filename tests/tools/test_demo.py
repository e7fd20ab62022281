"""tools/demo.py: overlay and masks of a video, and one line for each mistake."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from torch import nn
from torchvision.io import write_png

from dvis_daq.data.synthetic import Recipe, make_video
from dvis_daq.data.transforms import ResizeShortestEdge
from dvis_daq.data.video_io import VideoWriter, open_frames
from dvis_daq.predictor import VideoPredictor
from dvis_daq.tasks.vis import encode
from tests.conftest import ROOT
from tests.tools.scripts import load_script

demo = load_script("tools/demo.py")

FRAMES = make_video(Recipe(height=48, width=64, frames=6), "val", 0).frames


class LeftHalf(nn.Module):
    """Sees one sure object in the left half of each even frame, and one doubtful everywhere."""

    def forward(self, videos: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        (video,) = videos
        length = sum(len(video["images"][t : t + 4]) for t in range(0, len(video["images"]), 4))
        left = torch.zeros(length, video["height"], video["width"], dtype=torch.bool)
        left[::2, :, : video["width"] // 2] = True
        sure, doubtful = encode(left), encode(torch.ones_like(left))
        return [
            {
                "task": "vis",
                "scores": torch.tensor([0.9, 0.6, 0.2]),
                "labels": torch.tensor([1, 0, 2]),
                "ids": torch.tensor([4, 4, 7]),
                "masks": [sure, sure, doubtful],
            }
        ]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    with VideoWriter(tmp_path / "clip.mp4", fps=5) as writer:
        for frame in FRAMES:
            writer.write(frame)
    return tmp_path / "clip.mp4"


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo gets `LeftHalf` whatever the configuration says."""
    predictor = VideoPredictor(
        LeftHalf(), transform=ResizeShortestEdge([32], 1333), class_names=["disc", "square"]
    )
    monkeypatch.setattr(VideoPredictor, "from_config", lambda *arguments: predictor)


def run(clip: Path, *more: str) -> dict[str, Any]:
    output = clip.parent / "out"
    arguments = ["--config-file", "x.yaml", "--input", str(clip), "--output", str(output), *more]
    demo.main(arguments)
    return json.loads((output / "masks.json").read_text())


def test_overlay_and_masks(clip: Path, stub: None, capsys: pytest.CaptureFixture[str]) -> None:
    content = run(clip)
    assert "6 frames, 1 objects" in capsys.readouterr().out
    assert (content["height"], content["width"]) == (48, 64)
    assert [len(objects) for objects in content["frames"]] == [1, 0, 1, 0, 1, 0]
    (seen,) = content["frames"][2]
    assert (seen["id"], seen["class"], seen["score"]) == (4, "square", 0.9)
    mask = coco_mask.decode(seen["segmentation"])
    assert mask[:, :32].all() and not mask[:, 32:].any()
    overlay = open_frames(clip.parent / "out" / "overlay.mp4")
    assert (overlay.length, overlay.fps) == (6, 5.0)
    frames = np.stack(list(overlay)).astype(int)
    assert frames.shape == (6, 240, 320, 3)  # enlarged five times
    plain = np.stack(list(open_frames(clip))).repeat(5, 1).repeat(5, 2)
    changed = np.abs(frames - plain).mean((1, 2, 3))
    assert changed[::2].min() > 2 * changed[1::2].max()


def test_options(clip: Path, stub: None) -> None:
    content = run(clip, "--score", "0.1", "--max-frames", "3", "--fps", "2", "--min-side", "0")
    assert [[o["id"] for o in objects] for objects in content["frames"]] == [[4, 7], [7], [4, 7]]
    assert content["frames"][1][0]["class"] == "class 2"  # its name is not known
    overlay = open_frames(clip.parent / "out" / "overlay.mp4")
    assert (overlay.length, overlay.fps) == (3, 2.0)
    assert next(iter(overlay)).shape == (48, 64, 3)
    assert run(clip, "--classes", "disc")["frames"] == [[]] * 6


def test_folder_of_frames(tmp_path: Path, stub: None) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for t, frame in enumerate(FRAMES[:2]):
        write_png(torch.from_numpy(frame).permute(2, 0, 1), str(folder / f"{t}.png"))
    assert len(run(folder)["frames"]) == 2


@pytest.mark.parametrize(
    "more, message",
    [
        (["--draw", "halo"], "cannot draw 'halo'; choose from masks"),
        (["--classes", "dragon"], "no class 'dragon'; there are disc, square"),
        (["--fps", "-1"], "fps must be positive"),
        (["--input", "nowhere.mp4"], "nowhere.mp4: no such folder, video file or glob"),
    ],
)
def test_a_mistake_is_one_line(clip: Path, stub: None, more: list[str], message: str) -> None:
    arguments = ["--config-file", "x.yaml", "--input", str(clip), "--output", str(clip.parent)]
    assert message in mistake([*arguments, *more])


def test_missing_config_and_weights(clip: Path) -> None:
    arguments = ["--input", str(clip), "--output", str(clip.parent), "--config-file"]
    assert "missing.yaml: no such configuration file" in mistake([*arguments, "missing.yaml"])
    config = str(ROOT / "configs" / "synthetic" / "MinVIS.yaml")
    assert "no weights" in mistake([*arguments, config])


def mistake(arguments: list[str]) -> str:
    """The line with which the demo ends; a text exits with status 1."""
    with pytest.raises(SystemExit) as end:
        demo.main(arguments)
    assert isinstance(end.value.code, str) and end.value.code.startswith("error: ")
    assert len(end.value.code.splitlines()) == 1
    return end.value.code


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        demo.main(["--help"])
    shown = capsys.readouterr().out
    assert end.value.code == 0 and "Examples:" in shown and "--max-frames" in shown
