"""Log lines to the console and to `log.txt`."""

from __future__ import annotations

import copy
import functools
import logging
import sys
from pathlib import Path

from termcolor import colored

__all__ = ["setup_logger"]

_DATE = "%m/%d %H:%M:%S"


@functools.lru_cache  # a second call must not double every line
def setup_logger(
    output: str | None = None,
    distributed_rank: int = 0,
    *,
    color: bool = True,
    name: str = "detectron2",
    abbrev_name: str | None = None,
    enable_propagation: bool = False,
    configure_stdout: bool = True,
) -> logging.Logger:
    """Sets up the logger `name`.

    Args:
        output: a folder for `log.txt`, or a file ending in `.txt` or `.log`; None for no file.
            Other processes than the main one write to `<file>.rank<n>`.
        distributed_rank: rank of this process; only rank 0 writes to the console.
        color: colours on the console, and short names of loggers.
        name: which logger.
        abbrev_name: what the lines call it; `d2` for `detectron2`.
        enable_propagation: also hand the records to the parent loggers.
        configure_stdout: write to the console at all.
    """
    logger = logging.getLogger(name)
    logger.setLevel(logging.DEBUG)
    logger.propagate = enable_propagation
    if abbrev_name is None:
        abbrev_name = "d2" if name == "detectron2" else name

    plain = logging.Formatter("[%(asctime)s] %(name)s %(levelname)s: %(message)s", _DATE)
    if configure_stdout and distributed_rank == 0:
        formatter = _ConsoleFormatter(name, abbrev_name) if color else plain
        _attach(logger, logging.StreamHandler(stream=sys.stdout), formatter)
    if output is not None:
        file = _log_file(output, distributed_rank)
        file.parent.mkdir(parents=True, exist_ok=True)
        _attach(logger, logging.FileHandler(file), plain)
    return logger


def _log_file(output: str, rank: int) -> Path:
    file = Path(output)
    if file.suffix not in (".txt", ".log"):
        file = file / "log.txt"
    return file.with_name(f"{file.name}.rank{rank}") if rank > 0 else file


def _attach(logger: logging.Logger, handler: logging.Handler, formatter: logging.Formatter) -> None:
    handler.setLevel(logging.DEBUG)
    handler.setFormatter(formatter)
    logger.addHandler(handler)


class _ConsoleFormatter(logging.Formatter):
    """Coloured, with a shortened name."""

    def __init__(self, name: str, short: str) -> None:
        super().__init__(colored("[%(asctime)s %(name)s]:", "green") + " %(message)s", _DATE)
        self._name, self._short = name, short

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (name of the base)
        shown = copy.copy(record)  # other handlers see the record as it was
        if shown.name == self._name or shown.name.startswith(self._name + "."):
            shown.name = self._short + shown.name[len(self._name) :]
        line = super().formatMessage(shown)
        if record.levelno >= logging.WARNING:
            line = f"{colored(record.levelname, 'red')} {line}"
        return line
