"""Event storage, writers and log files: contract 4.7, on both sides."""

import json
import logging
from pathlib import Path

import pytest
import torch
from detectron2.utils.events import (
    CommonMetricPrinter,
    EventStorage,
    JSONWriter,
    get_event_storage,
    has_event_storage,
)
from detectron2.utils.logger import setup_logger


def lines(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_storages_are_a_stack() -> None:
    assert not has_event_storage()
    with pytest.raises(AssertionError):
        get_event_storage()
    with EventStorage(3) as outer:
        assert get_event_storage().iter == 3
        with EventStorage() as inner:
            assert get_event_storage() is inner
        assert get_event_storage() is outer


def test_scalars() -> None:
    with EventStorage(5) as storage:
        storage.put_scalar("a", torch.tensor([2.0]))
        storage.step()
        storage.put_scalars(a=4.0, b=1)
        assert storage.latest() == {"a": (4.0, 6), "b": (1.0, 6)}
        assert storage.history("a").values() == [(2.0, 5), (4.0, 6)]
        assert storage.latest_with_smoothing_hint(20)["a"] == (3.0, 6)
        assert storage.latest_with_smoothing_hint(1)["a"] == (4.0, 6)
        with storage.name_scope("x"):
            storage.put_scalar("a", 1.0)
        assert "x/a" in storage.histories()
        with pytest.raises(AssertionError):
            storage.put_scalar("a", 1.0, smoothing_hint=False)
        with pytest.raises(ValueError):
            storage.put_scalar("c", torch.ones(2))
        with pytest.raises(KeyError):
            storage.history("nope")


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    with EventStorage() as storage:
        writer = JSONWriter(str(path))
        for storage.iter in range(6):
            storage.put_scalar("total_loss", float(storage.iter))
            storage.put_scalar("lr", storage.iter / 10, smoothing_hint=False)
            if storage.iter == 3:
                storage.put_scalar("segm/AP", 1.0, smoothing_hint=False)
        writer.write()
        writer.write()  # nothing is new
        storage.iter = 6
        storage.put_scalar("segm/AP", 2.0, smoothing_hint=False)
        writer.write()
        writer.close()
    assert lines(path) == [
        {"iteration": 5, "lr": 0.5, "total_loss": 2.5},
        {"iteration": 3, "segm/AP": 1.0},
        {"iteration": 6, "segm/AP": 2.0},
    ]
    with EventStorage() as storage:
        storage.put_scalar("a", 1.0)
        JSONWriter(str(path)).write()
    assert len(lines(path)) == 4  # appended


def test_console_line(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("detectron2").propagate = True
    with caplog.at_level(logging.INFO), EventStorage(5) as storage:
        storage.put_scalars(total_loss=0.3154, loss_a=0.1, time=0.5, data_time=0.25)
        storage.put_scalar("lr", 0.01, smoothing_hint=False)
        printer = CommonMetricPrinter(max_iter=11)
        printer.write()
        assert storage.latest()["eta_seconds"] == (2.5, 5)
        storage.iter = 11
        printer.write()  # the run is over
    (line,) = (record.getMessage() for record in caplog.records)
    for part in (
        " eta: 0:00:02  iter: 5  total_loss: 0.3154  loss_a: 0.1",
        "time: 0.5000  last_time: 0.5000  data_time: 0.2500  last_data_time: 0.2500",
        "lr: 0.01",
    ):
        assert part in line


@pytest.mark.parametrize(
    ("output", "rank", "file"),
    [("", 0, "log.txt"), ("", 2, "log.txt.rank2"), ("own.txt", 0, "own.txt")],
)
def test_log_files(tmp_path: Path, output: str, rank: int, file: str) -> None:
    logger = setup_logger(
        str(tmp_path / output), rank, name=f"x{rank}{output}", configure_stdout=False
    )
    logger.info("hello")
    for handler in logger.handlers:
        handler.close()
    assert "hello" in (tmp_path / file).read_text()


def test_the_console_shortens_the_name(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logger(name="detectron2", enable_propagation=True)
    logging.getLogger("detectron2.some.module").info("hello")
    logger = logging.getLogger("detectron2")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
    assert "d2.some.module" in capsys.readouterr().out
