"""Checkpoints cut short or with a flipped bit, frames that are damaged."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import dvis_daq.recipes  # noqa: F401
from dvis_daq.config import get_config
from dvis_daq.data.errors import BrokenDataError
from dvis_daq.engine.trainer import Trainer
from tests.tiny_run import tiny_config
from tests.unit.engine.stand_in import Stream, equal, stand_in_config, weights


def _train(folder: Path, *options: object) -> Trainer:
    torch.manual_seed(7)
    trainer = Trainer(stand_in_config(folder, *options), Stream)
    trainer.prepare(resume=True)
    trainer.train()
    return trainer


@pytest.mark.parametrize("kind", ["cut short", "one bit flipped"])
def test_damaged_newest_checkpoint(
    tmp_path: Path, kind: str, tally: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    """Every time the run ends with the weights of an undisturbed one."""
    tries = 60
    straight = weights(_train(tmp_path).model)
    newest = tmp_path / "model_final.pth"
    whole = newest.read_bytes()
    rng = random.Random(kind)
    fell_back = 0
    for _ in range(tries):
        content = bytearray(whole)
        if kind == "cut short":
            del content[rng.randrange(len(content)) :]
        else:
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        newest.write_bytes(content)
        (tmp_path / "last_checkpoint").write_text(newest.name)
        caplog.clear()
        resumed = _train(tmp_path)
        assert equal(weights(resumed.model), straight)
        if resumed.start_iter == 6:
            assert "trying the checkpoint before it" in caplog.text
            fell_back += 1
        else:  # a bit that means nothing, such as padding
            assert resumed.start_iter == 8
            assert kind == "one bit flipped"
    lost = f"the checkpoint before it was used {fell_back} times; equal weights every time"
    tally(f"newest checkpoint {kind}", tries, tries, lost)


def test_damaged_frames(tmp_path: Path, tally: Callable[..., None]) -> None:
    """Training stops and names the file, or leaves it out by option."""
    file = tiny_config(tmp_path, "MinVIS")
    options = ["DATASETS.TEST", "()", "SOLVER.MAX_ITER", "12"]
    frames = sorted((tmp_path / "images" / "a").iterdir())
    for index, frame in enumerate(frames):
        content = frame.read_bytes()
        frame.write_bytes([content[: len(content) // 2], b"", b"noise" * 20][index % 3])
    named = 0
    for workers in ("0", "1"):
        trainer = Trainer(get_config(file, [*options, "DATALOADER.NUM_WORKERS", workers]))
        trainer.prepare()
        with pytest.raises(BrokenDataError, match=r"images/a/00\d.png"):
            trainer.train()
        named += 1
    cfg = get_config(file, [*options, "DATALOADER.SKIP_BROKEN", "True"])
    trainer = Trainer(cfg)
    trainer.prepare()
    trainer.train()
    assert trainer.iter == 12
    tally("damaged frames", len(frames), len(frames), f"stopped with the file's name {named} times; "
          "left out with DATALOADER.SKIP_BROKEN")  # fmt: skip
