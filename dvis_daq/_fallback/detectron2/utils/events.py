"""The record of a run: one `EventStorage` is filled by the trainer, writers read it."""

from __future__ import annotations

import datetime
import json
import logging
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from fvcore.common.history_buffer import HistoryBuffer

from detectron2.utils.file_io import PathManager

__all__ = [
    "CommonMetricPrinter",
    "EventStorage",
    "EventWriter",
    "JSONWriter",
    "TensorboardXWriter",
    "get_event_storage",
    "has_event_storage",
]

_storages: list[EventStorage] = []


def get_event_storage() -> EventStorage:
    """The storage of the innermost `with EventStorage(...)`."""
    assert _storages, "get_event_storage() has to be called inside a 'with EventStorage(...)'!"
    return _storages[-1]


def has_event_storage() -> bool:
    """Whether a storage is active."""
    return bool(_storages)


class EventStorage:
    """Scalars by name over iterations, and images of the current one.

    Args:
        start_iter: the first iteration.
    """

    def __init__(self, start_iter: int = 0) -> None:
        self.iter = start_iter
        self._histories: dict[str, HistoryBuffer] = defaultdict(HistoryBuffer)
        self._latest: dict[str, tuple[float, int]] = {}
        self._smooth: dict[str, bool] = {}
        self._images: list[tuple[str, Any, int]] = []
        self._prefix = ""

    @property
    def iteration(self) -> int:
        """Same as `iter`."""
        return self.iter

    def step(self) -> None:
        """Moves to the next iteration."""
        self.iter += 1

    def put_scalar(
        self, name: str, value: Any, smoothing_hint: bool = True, cur_iter: int | None = None
    ) -> None:
        """Records one number.

        Args:
            name: name of the series.
            value: a number, or a tensor or array with one element.
            smoothing_hint: whether a reader should smooth the series; the same at every call.
            cur_iter: iteration of the value, the current one if None.

        Raises:
            ValueError: the tensor has more than one element.
        """
        name = self._prefix + name
        known = self._smooth.setdefault(name, smoothing_hint)
        assert known == smoothing_hint, (
            f"Scalar '{name}' was put with smoothing_hint={known} before!"
        )
        iteration = self.iter if cur_iter is None else cur_iter
        number = _number(name, value)
        self._histories[name].update(number, iteration)
        self._latest[name] = (number, iteration)

    def put_scalars(
        self, *, smoothing_hint: bool = True, cur_iter: int | None = None, **scalars: Any
    ) -> None:
        """`put_scalar` for several names."""
        for name, value in scalars.items():
            self.put_scalar(name, value, smoothing_hint=smoothing_hint, cur_iter=cur_iter)

    def put_image(self, img_name: str, img_tensor: Any) -> None:
        """Keeps an image for the TensorBoard writer.

        Args:
            img_name: its title.
            img_tensor: (3, H, W) RGB, uint8 in 0..255 or float in 0..1.
        """
        self._images.append((img_name, img_tensor, self.iter))

    def images(self) -> list[tuple[str, Any, int]]:
        """The images kept since `clear_images`: title, pixels, iteration."""
        return self._images

    def clear_images(self) -> None:
        """Forgets the images."""
        self._images = []

    def history(self, name: str) -> HistoryBuffer:
        """All values of a series; KeyError if there are none."""
        if name not in self._histories:
            raise KeyError(f"No history metric available for {name}!")
        return self._histories[name]

    def histories(self) -> dict[str, HistoryBuffer]:
        """All series by name."""
        return self._histories

    def latest(self) -> dict[str, tuple[float, int]]:
        """The last value of each series with its iteration."""
        return self._latest

    def latest_with_smoothing_hint(self, window_size: int = 20) -> dict[str, tuple[float, int]]:
        """As `latest`, but smooth series give their median.

        Args:
            window_size: length of the window in iterations.
        """
        return {
            name: (self._median(name, window_size), at) if self._smooth[name] else (value, at)
            for name, (value, at) in self._latest.items()
        }

    def count_samples(self, name: str, window_size: int = 20) -> int:
        """Number of values in the last `window_size` iterations of a series."""
        values = self._histories[name].values()
        newest = values[-1][1]
        recent = 0
        while recent < len(values) and values[-1 - recent][1] > newest - window_size:
            recent += 1
        return recent

    def _median(self, name: str, window_size: int) -> float:
        return float(self._histories[name].median(self.count_samples(name, window_size)))

    @contextmanager
    def name_scope(self, name: str) -> Iterator[None]:
        """Inside, names get the prefix `name/`."""
        outer, self._prefix = self._prefix, name.rstrip("/") + "/"
        try:
            yield
        finally:
            self._prefix = outer

    def __enter__(self) -> EventStorage:
        _storages.append(self)
        return self

    def __exit__(self, *_: Any) -> None:
        assert _storages.pop() is self


def _number(name: str, value: Any) -> float:
    if isinstance(value, (torch.Tensor, np.ndarray)):
        count = value.numel() if isinstance(value, torch.Tensor) else value.size
        if count != 1:
            raise ValueError(f"Scalar '{name}' has {count} elements, expected 1")
        return float(value.item())
    return float(value)


class EventWriter:
    """Writes what the current storage holds; `close` ends it."""

    def write(self) -> None:
        """Writes what is new."""
        raise NotImplementedError

    def close(self) -> None:
        """Called once, after the last `write`."""


class _ScalarWriter(EventWriter):
    """Keeps track of which scalars are written already."""

    def __init__(self, window_size: int) -> None:
        self._window_size = window_size
        self._last_write = -1

    def _fresh_scalars(self) -> list[tuple[str, float, int]]:
        """(name, value, iteration) of every scalar newer than the last call."""
        latest = get_event_storage().latest_with_smoothing_hint(self._window_size)
        fresh = [(name, value, at) for name, (value, at) in latest.items() if at > self._last_write]
        self._last_write = max([self._last_write, *(at for _, _, at in fresh)])
        return fresh


class JSONWriter(_ScalarWriter):
    """Appends one JSON object a line and iteration.

    Args:
        json_file: the file, usually `metrics.json`.
        window_size: smoothing window in iterations.
    """

    def __init__(self, json_file: str, window_size: int = 20) -> None:
        super().__init__(window_size)
        self._file = PathManager.open(json_file, "a")

    def write(self) -> None:
        lines: dict[int, dict[str, float]] = defaultdict(dict)
        for name, value, at in self._fresh_scalars():
            lines[at][name] = value
        for at, scalars in lines.items():
            self._file.write(json.dumps({**scalars, "iteration": at}, sort_keys=True) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class TensorboardXWriter(_ScalarWriter):
    """Writes scalars and images for TensorBoard.

    Args:
        log_dir: the folder.
        window_size: smoothing window in iterations.
        **kwargs: go to `torch.utils.tensorboard.SummaryWriter`.
    """

    def __init__(self, log_dir: str, window_size: int = 20, **kwargs: Any) -> None:
        super().__init__(window_size)
        from torch.utils.tensorboard import SummaryWriter  # seconds to import

        self._writer = SummaryWriter(log_dir, **kwargs)

    def write(self) -> None:
        for name, value, at in self._fresh_scalars():
            self._writer.add_scalar(name, value, at)
        storage = get_event_storage()
        for name, image, at in storage.images():
            self._writer.add_image(name, image, at)
        storage.clear_images()

    def close(self) -> None:
        self._writer.close()


class CommonMetricPrinter(EventWriter):
    """Logs one line: time left, iteration, losses, times, learning rate, memory.

    Args:
        max_iter: number of iterations of the run; without it no time left is told.
        window_size: smoothing window in iterations.
    """

    def __init__(self, max_iter: int | None = None, window_size: int = 20) -> None:
        self._logger = logging.getLogger("detectron2.utils.events")
        self._max_iter = max_iter
        self._window_size = window_size
        self._last: tuple[int, float] | None = None  # iteration and clock of the last line

    def write(self) -> None:
        storage = get_event_storage()
        if storage.iter == self._max_iter:  # the run has ended, there is no progress to tell
            return
        losses = [
            f"{name}: {value:.4g}" for name, value in self._smoothed(storage) if "loss" in name
        ]
        self._logger.info(
            " %siter: %d  %s    %s lr: %s  %s",
            self._time_left(storage),
            storage.iter,
            "  ".join(losses),
            self._times(storage),
            f"{storage.latest()['lr'][0]:.5g}" if "lr" in storage.latest() else "N/A",
            f"max_mem: {torch.cuda.max_memory_allocated() / 2**20:.0f}M"
            if torch.cuda.is_available()
            else "",
        )

    def _smoothed(self, storage: EventStorage) -> list[tuple[str, float]]:
        return [
            (name, history.median(storage.count_samples(name, self._window_size)))
            for name, history in storage.histories().items()
        ]

    def _times(self, storage: EventStorage) -> str:
        told = ""
        for name in ("time", "data_time"):
            if name in storage.latest():
                history = storage.history(name)
                mean = history.avg(storage.count_samples(name, self._window_size))
                told += f"{name}: {mean:.4f}  last_{name}: {history.latest():.4f}  "
        return told

    def _time_left(self, storage: EventStorage) -> str:
        if self._max_iter is None:
            return ""
        seconds = self._seconds_per_iteration(storage)
        if seconds is None:
            return ""
        seconds *= self._max_iter - storage.iter - 1
        storage.put_scalar("eta_seconds", seconds, smoothing_hint=False)
        return f"eta: {datetime.timedelta(seconds=int(seconds))}  "

    def _seconds_per_iteration(self, storage: EventStorage) -> float | None:
        """From the recorded `time`, else (too early for it) from the clock between two lines."""
        last, self._last = self._last, (storage.iter, time.perf_counter())
        if "time" in storage.latest():
            return float(storage.history("time").median(1000))
        if last is None or last[0] == storage.iter:
            return None
        return (self._last[1] - last[1]) / (self._last[0] - last[0])
